// A small real bot: visitors of a hair salon book an hour by pressing a button.
//
// It has what a bot of your own will have: buttons, a table of its own (migrations/), a step that
// is slow, since the salon's calendar has to agree first, a question to the salon's owner, and a
// reminder an hour before. Nothing here thinks of crashes, of restarts in between, of messages that
// come twice or of two visitors at the same moment.
//
// Run it: TURNKEY_TELEGRAM_TOKEN=12345:ABC… turnkey run examples/handlers/booking.mjs
// Test it: booking.test.mjs
//
// BOOKING_CALENDAR_MS is how long the calendar takes to answer (3000). BOOKING_OWNER, such as
// telegram:4242, is the owner's chat: each booking is asked of her there, and answered by a button.
// Without it every free hour is the visitor's at once.
import { setTimeout as delay } from 'node:timers/promises'
import { Reply, run } from 'turnkey'

/**
 * The hours that can be booked, and how many hours after the beginning of Monday each begins. The
 * salon is in Reykjavik, where it is UTC all year.
 */
const HOURS = { 'Mon 10:00': 10, 'Mon 11:00': 11, 'Tue 10:00': 24 + 10, 'Tue 11:00': 24 + 11 }
const HOUR = 3_600_000
const WEEK = 7 * 24 * HOUR

/** 1970 began on a Thursday; the Monday after it. */
const FIRST_MONDAY = 4 * 24 * HOUR

/** What the timer is called that reminds a visitor. */
const REMINDER = 'reminder'
const SOMEBODY_WAS_QUICKER = 'Somebody was quicker. What about another hour?'

export async function answer(turn) {
  if (turn.called) return decided(turn, turn.called.button === 'yes')
  if (turn.timer) return remind(turn)
  const [verb, hour] = split(turn.button ?? '')
  if (verb === 'book') return book(turn, hour)
  if (verb === 'cancel') return cancel(turn, hour)
  return greet(turn)
}

/** What anybody is told who just writes something. */
async function greet(turn) {
  const { hour, asked } = turn.state
  if (hour) turn.reply(new Reply(`You have ${hour}.`).button('Cancel it', `cancel ${hour}`))
  else if (asked) turn.reply(`The salon has not decided on ${asked} yet.`)
  else await offer(turn, 'When would you like to come?')
}

async function book(turn, hour) {
  // They pressed an old button.
  if (turn.state.hour || turn.state.asked) return greet(turn)
  const free = await freeHours(turn)
  if (!free.includes(hour)) return offer(turn, SOMEBODY_WAS_QUICKER)
  await confirmInCalendar(turn)
  const [channel, owner] = (process.env.BOOKING_OWNER ?? '').split(':')
  if (!owner) return confirm(turn, hour)
  const question = new Reply(`${turn.sender?.name ?? 'Somebody'} would like ${hour}. Is that all right?`)
  turn.askIn(channel, owner, question.button('Yes', 'yes').button('No', 'no'), 'booking')
  turn.state.asked = hour
  turn.reply(`I ask the salon about ${hour}. You will hear from me.`)
}

/** The owner has pressed a button: in a minute, or tomorrow. */
async function decided(turn, agrees) {
  const { asked } = turn.state
  if (!asked) return
  delete turn.state.asked
  if (!agrees) return offer(turn, `${asked} is not possible. Another hour?`)
  const free = await freeHours(turn)
  if (!free.includes(asked)) return offer(turn, SOMEBODY_WAS_QUICKER)
  confirm(turn, asked)
}

function confirm(turn, hour) {
  // If another visitor gets the hour between our look and here, this row cannot be written.
  // Then the turn fails and changes nothing; it is tried again, and the look says that
  // somebody was quicker.
  turn.execute('INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)', [hour, `${turn.channel}:${turn.userId}`])
  turn.state.hour = hour
  // Whoever comes by `POST /http` can be told nothing later.
  if (turn.channel !== 'http') turn.at(nextTime(hour, Date.now()) - HOUR, REMINDER)
  turn.reply(`${hour} is yours.`)
  turn.reply('Write to me if you have to cancel. See you!')
}

/** An hour before: also if the bot was started again since, and late if it was not there. */
function remind(turn) {
  if (turn.state.hour) turn.reply(`Do not forget: ${turn.state.hour}.`)
}

/** When this hour begins next. */
function nextTime(hour, now) {
  const first = FIRST_MONDAY + HOURS[hour] * HOUR
  return first + WEEK * (Math.floor((now - first) / WEEK) + 1)
}

async function cancel(turn, hour) {
  if (turn.state.hour !== hour) return greet(turn)
  turn.execute('DELETE FROM bookings WHERE hour = ?1', [hour])
  turn.cancel(REMINDER)
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
  return Object.keys(HOURS).filter((hour) => !taken.includes(hour))
}

/** Stands for the salon's calendar, a slow service somewhere else. */
async function confirmInCalendar(turn) {
  await delay(Number(process.env.BOOKING_CALENDAR_MS ?? 3000), undefined, { signal: turn.signal })
}

/** `book Mon 10:00` is `book` and `Mon 10:00`. */
function split(data) {
  const space = data.indexOf(' ')
  return [data.slice(0, space), data.slice(space + 1)]
}

run(answer)
