// How a bot is tested: a conversation in this process, and one with the real program.
//
// Run it: turnkey handler exec -- node --test examples/handlers/booking.test.mjs
// (a Conversation with SQL needs Node.js 22.13; TURNKEY_PROGRAM names the program)
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Conversation, Program } from 'turnkey/testing'
import { answer } from './booking.mjs'

process.env.BOOKING_CALENDAR_MS = '0'
const sqlite = await import('node:sqlite').catch(() => undefined)

/** What is asked with buttons, one for each hour. */
const offer = (text, ...hours) => ({ text, buttons: hours.map((hour) => ({ label: hour, data: `book ${hour}` })) })

async function theConversation(bot) {
  assert.deepEqual(await bot.says('ann', 'hi'),
    [offer('When would you like to come?', 'Mon 10:00', 'Mon 11:00', 'Tue 10:00', 'Tue 11:00')])
  assert.deepEqual(await bot.presses('ann', 'book Mon 10:00'),
    ['Mon 10:00 is yours.', 'Write to me if you have to cancel. See you!'])
  const hers = { text: 'You have Mon 10:00.', buttons: [{ label: 'Cancel it', data: 'cancel Mon 10:00' }] }
  assert.deepEqual(await bot.says('ann', 'when?'), [hers])
  assert.deepEqual(await bot.presses('ann', 'book Tue 10:00'), [hers])
  assert.deepEqual(await bot.presses('bob', 'book Mon 10:00'),
    [offer('Somebody was quicker. What about another hour?', 'Mon 11:00', 'Tue 10:00', 'Tue 11:00')])
  assert.deepEqual(await bot.presses('ann', 'cancel Mon 10:00'), ['Mon 10:00 is cancelled.'])
  assert.deepEqual(await bot.presses('bob', 'book Mon 10:00'),
    ['Mon 10:00 is yours.', 'Write to me if you have to cancel. See you!'])
}

test('an hour is booked and cancelled', { skip: !sqlite && 'this Node.js has no SQLite' }, async () => {
  const bot = new Conversation(answer, { migrations: new URL('migrations', import.meta.url) })
  await theConversation(bot)
  assert.deepEqual(bot.state('bob'), { hour: 'Mon 10:00' })
})

test('the owner decides, and the visitor is reminded', { skip: !sqlite && 'this Node.js has no SQLite' }, async () => {
  process.env.BOOKING_OWNER = 'test:olga'
  const bot = new Conversation(answer, { migrations: new URL('migrations', import.meta.url) })
  const [question, told] = await bot.presses('ann', 'book Mon 10:00')
  assert.equal(question.text, 'Somebody would like Mon 10:00. Is that all right?')
  assert.equal(told, 'I ask the salon about Mon 10:00. You will hear from me.')
  assert.deepEqual(await bot.says('ann', 'and?'), ['The salon has not decided on Mon 10:00 yet.'])
  assert.deepEqual(await bot.answers('olga', 'no'),
    [offer('Mon 10:00 is not possible. Another hour?', 'Mon 10:00', 'Mon 11:00', 'Tue 10:00', 'Tue 11:00')])
  await bot.presses('ann', 'book Mon 10:00')
  assert.deepEqual((await bot.answers('olga', 'yes'))[0], 'Mon 10:00 is yours.')
  assert.deepEqual(await bot.fires('ann', 'reminder'), ['Do not forget: Mon 10:00.'])
  delete process.env.BOOKING_OWNER
})

test('the whole program does the same', { skip: !process.env.TURNKEY_PROGRAM && 'set TURNKEY_PROGRAM' }, async () => {
  const bot = await Program.start(new URL('booking.mjs', import.meta.url), { env: { BOOKING_CALENDAR_MS: '0' } })
  await theConversation(bot)
  // The state is in the file: another life goes on with it.
  await bot.restart()
  const [reply] = await bot.says('bob', 'hi')
  assert.equal(reply.text, 'You have Mon 10:00.')
  await bot.stop()
})
