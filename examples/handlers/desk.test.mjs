// How a bot for Telegram is tested: what it calls is answered by a function of the test's own.
//
// Run it: turnkey handler exec -- node --test examples/handlers/desk.test.mjs
// (a Conversation with SQL needs Node.js 22.13)
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Conversation } from 'turnkey/testing'

const GROUP = '-1001234567890'
process.env.DESK_GROUP = GROUP
const { answer } = await import('./desk.mjs')
const sqlite = await import('node:sqlite').catch(() => undefined)
const skip = !sqlite && 'this Node.js has no SQLite'

const menu = (text, label) => ({ text: `**${text}**`, format: 'markup', buttons: [{ label, data: 'languages' }] })
const ENGLISH = menu('Write what you would like to know, or send a photo or a document.', 'Language')
const GERMAN = menu('Schreiben Sie uns, was Sie wissen möchten, oder schicken Sie ein Foto oder ein Dokument.', 'Sprache')

/** A conversation with the desk, and what it asked Telegram for. */
function begin() {
  const asked = []
  const ask = (method, params) => {
    asked.push([method, params])
    return { message_thread_id: 40 + asked.length }
  }
  const bot = new Conversation(answer, { migrations: new URL('migrations', import.meta.url), ask })
  return { bot, asked }
}

/** What a customer writes, and what somebody answers in the group. */
const writes = (message, update) => ({ message, sender: { name: 'Ann', language: 'de' }, ...update })
const answers = (topic, update, id = GROUP) => ({ chat: { id, type: 'group', title: 'Desk', topic }, ...update })

test('the menu is changed in its place', async () => {
  const { bot } = begin()
  assert.deepEqual(await bot.says('ann', '/start'), [{ delete: 'menu' }, { ...ENGLISH, name: 'menu' }])
  const [languages] = await bot.presses('ann', 'languages')
  assert.equal(languages.edit, true)
  assert.deepEqual(languages.buttons.map(({ data }) => data), ['language en', 'language de', 'menu'])
  assert.deepEqual(await bot.presses('ann', 'menu'), [{ ...ENGLISH, edit: true }])
  assert.deepEqual(await bot.presses('ann', 'language de'), [{ toast: 'Gespeichert' }, { ...GERMAN, edit: true }])
  assert.deepEqual(bot.state('ann'), { language: 'de' })
})

test('each customer has a topic', { skip }, async () => {
  const { bot, asked } = begin()
  const copy = (message) => ({
    call: 'copyMessage',
    params: { chat_id: GROUP, message_thread_id: 41, from_chat_id: '7', message_id: message },
  })
  const received = { text: 'Danke. Sie bekommen hier Antwort.', silent: true }
  assert.deepEqual(await bot.sends('7', writes('5', { text: 'Hallo?' })), [copy(5), received])
  const photo = writes('6', { files: [{ type: 'photo', id: 'shoe' }] })
  assert.deepEqual(await bot.sends('7', photo), [copy(6), received])
  assert.deepEqual(asked, [['createForumTopic', { chat_id: GROUP, name: 'Ann (7)' }]])

  // What is said in it goes to them.
  const to = { channel: 'telegram', user: '7' }
  const text = answers('41', { text: 'at 10', markup: 'at **10**' })
  assert.deepEqual(await bot.sends('eve', text), [{ text: 'at **10**', format: 'markup', sendTo: to }])
  const bill = answers('41', { files: [{ type: 'document', id: 'bill', name: 'bill.pdf' }] })
  const [sent] = await bot.sends('eve', bill)
  assert.deepEqual([sent.sendTo, sent.files[0].id], [to, 'bill'])
  for (const nobody of [answers('99', { text: '?' }), answers(undefined, { text: '?' }), answers('41', { text: '?' }, '-1009')]) {
    assert.deepEqual(await bot.sends('eve', nobody), [])
  }
})

test('whoever opens the chat has said nothing', async () => {
  const { bot, asked } = begin()
  assert.deepEqual(await bot.sends('ann', { kind: 'opened' }), [])
  assert.deepEqual(asked, [])
})
