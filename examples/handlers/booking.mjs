// A small real bot: visitors of a hair salon book an hour by pressing a button.
//
// It has what a bot of your own will have: buttons, a table of its own (migrations/), and a
// step that is slow, since the salon's calendar has to agree first. Nothing here thinks of
// crashes, of messages that come twice or of two visitors at the same moment.
//
// Run it: TURNKEY_TELEGRAM_TOKEN=12345:ABC… turnkey run examples/handlers/booking.mjs
// Test it: booking.test.mjs
//
// BOOKING_CALENDAR_MS is how long the calendar takes to answer (3000).
import { setTimeout as delay } from 'node:timers/promises'
import { Reply, run } from 'turnkey'

/** The hours that can be booked. */
const HOURS = ['Mon 10:00', 'Mon 11:00', 'Tue 10:00', 'Tue 11:00']

export async function answer(turn) {
  const [verb, hour] = split(turn.button ?? '')
  if (verb === 'book') return book(turn, hour)
  if (verb === 'cancel') return cancel(turn, hour)
  return greet(turn)
}

/** What anybody is told who just writes something. */
async function greet(turn) {
  const { hour } = turn.state
  if (!hour) return offer(turn, 'When would you like to come?')
  turn.reply(new Reply(`You have ${hour}.`).button('Cancel it', `cancel ${hour}`))
}

async function book(turn, hour) {
  // They pressed an old button.
  if (turn.state.hour) return greet(turn)
  const free = await freeHours(turn)
  if (!free.includes(hour)) return offer(turn, 'Somebody was quicker. What about another hour?')
  await confirm(turn)
  // If another visitor gets the hour between our look and here, this row cannot be written.
  // Then the turn fails and changes nothing; it is tried again, and the look says that
  // somebody was quicker.
  turn.execute('INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)', [hour, `${turn.channel}:${turn.userId}`])
  turn.state.hour = hour
  turn.reply(`${hour} is yours.`)
  turn.reply('Write to me if you have to cancel. See you!')
}

async function cancel(turn, hour) {
  if (turn.state.hour !== hour) return greet(turn)
  turn.execute('DELETE FROM bookings WHERE hour = ?1', [hour])
  delete turn.state.hour
  turn.reply(`${hour} is cancelled.`)
}

/** Asks which of the free hours it shall be. */
async function offer(turn, question) {
  const free = await freeHours(turn)
  if (free.length === 0) return turn.reply('Every hour is taken.')
  const buttons = free.map((hour) => ({ label: hour, data: `book ${hour}` }))
  turn.reply({ text: question, buttons })
}

async function freeHours(turn) {
  const rows = await turn.query('SELECT hour FROM bookings')
  const taken = rows.map((row) => row.hour)
  return HOURS.filter((hour) => !taken.includes(hour))
}

/** Stands for the salon's calendar, a slow service somewhere else. */
async function confirm(turn) {
  await delay(Number(process.env.BOOKING_CALENDAR_MS ?? 3000), undefined, { signal: turn.signal })
}

/** `book Mon 10:00` is `book` and `Mon 10:00`. */
function split(data) {
  const space = data.indexOf(' ')
  return [data.slice(0, space), data.slice(space + 1)]
}

run(answer)
