// Runs the JavaScript of docs/BOT.md: each piece is a whole bot, and each is talked to.
//
// Called by `pages.rs` with the page's path. A piece is known by what only it says: every one
// of these sentences has to come. SQLite in memory takes a newer Node.js than some boxes have, so
// the table is one of the test.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Conversation } from 'turnkey/testing'

const EXPECTED = [
  '**Welcome!** What would you like?',
  'tea, cup 1. More?',
  'That is no longer on offer.',
  '4 bytes. Here it is again:',
  'Our prices',
  'In 20m, then.',
  'Do not forget: tea',
  'Like this: /remind 20m tea (or 2h, or 3d)',
  'Do not forget: the bread',
  'Let ann in?',
  'You are in.',
  'ann: hello',
  'What shall I say?',
  'Sent.',
  'You will hear from us.',
  'Fresh bread!',
  'Everybody has it.',
  'The oven does not answer today.',
  'I am asking the oven.',
  'The oven has not answered five times.',
  'Sorry, that did not work.'
]

/** A table of people, as far as the page asks of it. */
class People {
  rows = []

  query (_sql, [after]) {
    return this.rows.filter((row) => row.number > after)
  }

  transaction (statements) {
    for (const [, [channel, user]] of statements) {
      this.rows.push({ number: this.rows.length + 1, channel, user_id: user })
    }
  }
}

/** What a bot says to Ann, and to the operator. */
async function talk (handle, options) {
  const settings = { channel: 'telegram', downloads: { p: Buffer.from('four') }, ...options }
  const bot = new Conversation(handle, { ...settings, database: new People() })
  const said = []
  const take = async (answers) => {
    try {
      said.push(...await answers)
    } catch (error) {
      if (error.name !== 'Retry') throw error
    }
  }
  const fire = async (user) => {
    for (const name of bot.timers(user)) await take(bot.fires(user, name))
  }

  for (const word of ['/start', 'made', '/remind soon', '/remind 20m tea']) await take(bot.says('ann', word))
  await fire('ann')
  await take(bot.says('ann', '/daily'))
  await fire('ann')
  await take(bot.says('ann', '/stop'))
  assert.deepEqual(bot.timers('ann'), [])
  await take(bot.sends('ann', { files: [{ type: 'photo', id: 'p' }] }))
  await take(bot.presses('ann', 'tea'))
  await take(bot.presses('ann', 'of last year'))
  await take(bot.says('ann', 'hello'))
  if (said.some((what) => what.ask_in ?? what.askIn)) await take(bot.answers('4242', 'yes'))
  await take(bot.presses('4242', 'answer telegram ann'))
  await take(bot.says('4242', 'We are open.'))
  await take(bot.says('4242', '/all Fresh bread!'))
  await fire('4242')
  await take(bot.sends('ann', { text: 'degrees?', lastAttempt: true }))
  await take(bot.says('ann', '/oven'))
  for (let attempt = 1; attempt <= 5; attempt += 1) await fire('ann')
  assert.deepEqual(bot.timers('ann'), [])
  if (options.givenUp) await take(bot.sends('ann', { text: 'degrees?', givenUp: 'no answer' }))
  return said
}

/** Runs the page's test, with this piece as `bot.mjs`. */
async function runTest (piece, tested) {
  writeFileSync(join(directory, 'bot.mjs'), tested.replace('async function handle', 'export async function handle'))
  const file = join(directory, 'page.test.mjs')
  // Here a test is its function: whatever it throws ends this script.
  writeFileSync(file, piece.replace("import test from 'node:test'", 'const tests = []\nconst test = (name, run) => tests.push(run)') +
    '\nexport { tests }\n')
  const { tests } = await import(pathToFileURL(file))
  assert.equal(tests.length, 1)
  for (const run of tests) await run()
}

const [, , page, directory] = process.argv
const pieces = [...readFileSync(page, 'utf8').matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, piece]) => piece)
const said = []
let count = 0
for (const piece of pieces) {
  if (piece.includes('node:test')) {
    await runTest(piece, pieces.find((bot) => bot.includes('/remind')))
    continue
  }
  // `run` does nothing in a test: what it was given is taken out of the piece.
  const bot = piece.replace(/^run\(handle(?:, (.*))?\)$/m, 'export default [handle, $1]')
  const file = join(directory, `piece${++count}.mjs`)
  writeFileSync(file, bot)
  const [handle, options = {}] = (await import(pathToFileURL(file))).default
  said.push(...await talk(handle, options))
}
const texts = new Set(said.map((what) => what.text ?? what))
const missing = EXPECTED.filter((text) => !texts.has(text))
assert.deepEqual(missing, [], `not among ${[...texts].join('\n')}`)
