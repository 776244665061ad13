// The protocol, line by line: a bot's process against a worker of the tests. `failures.test.js` has
// what goes wrong in a turn, `process.test.js` the process around it.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { describe, test } = require('node:test')
const { COUNTER, IMPORT, bot } = require('./support/bots.js')
const { start } = require('./support/worker.js')

describe('a turn', { concurrency: 4 }, () => {
  for (const [name, source] of [
    ['bot.mjs', COUNTER],
    ['bot.cjs', COUNTER.replace(/import (.*) from ('turnkey')/, 'const $1 = require($2)')],
    ['bot.js', COUNTER.replace(/import (.*) from ('turnkey')/, 'const $1 = require($2)')],
  ]) {
    test(`is answered by ${name}`, async (t) => {
      const worker = await start(t, source, { name })
      assert.deepEqual(worker.hello, { protocol: 1, name, concurrency: 1000, raw: false, hears: [] })
      assert.deepEqual(await worker.turn(), { state: { count: 1 }, replies: [{ text: '1: hi' }] })
      assert.deepEqual(await worker.turn({ state: { count: 7, x: [] } }), { state: { count: 8, x: [] }, replies: [{ text: '8: hi' }] })
      assert.deepEqual(await worker.end(), { code: 0, signal: null })
      assert.equal(worker.stdout + worker.stderr, '')
    })
  }

  test('has what the table of verbs says', async (t) => {
    const seen = '[turn.state, turn.text, turn.command, turn.argument, turn.button, turn.files, turn.rpc, turn.userId, turn.channel, turn.update, turn.attempt]'
    const worker = await start(t, `${IMPORT}run((turn) => turn.reply(JSON.stringify(${seen})), { raw: true, name: 'ä'.repeat(40), concurrency: 3, hears: ['edited'], dialogBy: 'chat', overlap: { telegram: 'burst 2m', '*': 'interrupt' }, every: { digest: ['0 9 * * MON', 'UTC'] } })`)
    assert.deepEqual(worker.hello, { protocol: 1, name: 'ä'.repeat(32), concurrency: 3, raw: true, hears: ['edited'], dialog_by: 'chat', overlap: { telegram: 'burst 2m', '*': 'interrupt' }, every: [{ name: 'digest', cron: '0 9 * * MON', zone: 'UTC' }] })
    const see = async (turn) => JSON.parse((await worker.turn(turn)).replies[0].text)
    assert.deepEqual(await see({ text: '/start ref', command: 'start', argument: 'ref', raw: { a: 1 } }),
      [{}, '/start ref', 'start', 'ref', null, [], null, 'ann', 'http', { id: 'u1', kind: 'message', raw: { a: 1 } }, 1])
    assert.deepEqual(await see({ kind: 'button', text: 'tea', state: { n: 1 }, attempt: 3, unknown: 1 }),
      [{ n: 1 }, 'tea', null, '', 'tea', [], null, 'ann', 'http', { id: 'u2', kind: 'button' }, 3])
    const rpc = { method: 'm', params: [1] }
    const files = [{ type: 'photo', id: 'x' }, { type: 'voice', url: 'https://x' }]
    assert.deepEqual((await see({ kind: 'rpc', text: '', rpc, files })).slice(5, 7), [files, rpc])
    const bytes = await see({ raw: { base64: '/wD+' } })
    assert.deepEqual(bytes[9].raw, { type: 'Buffer', data: [255, 0, 254] })
  })

  test('has what came in', async (t) => {
    const seen = '[turn.kind, turn.event, turn.markup, turn.files, turn.photos, turn.location, turn.contact, turn.quoted, turn.forwarded, turn.sender, turn.chat, turn.message, turn.album, turn.dialogId, turn.unreachable]'
    const worker = await start(t, `${IMPORT}run((turn) => turn.reply(JSON.stringify(${seen})))`)
    const see = async (turn) => JSON.parse((await worker.turn(turn)).replies[0].text)
    assert.deepEqual(await see({ text: 'a *b* c_d (e), f?' }),
      ['message', '', 'a \\*b\\* c\\_d \\(e\\), f?', [], [], null, null, null, null, null, null, '', '', 'ann', null])
    const location = { latitude: 48.25, longitude: -16, title: 'Café', address: 'Ring 1' }
    const quoted = { message: '3', text: 'what?', sender: '8' }
    const forwarded = { id: '9', name: 'News' }
    const sender = { name: 'Ann B', username: 'ann', language: 'de' }
    const chat = { id: '-1', type: 'group', title: 'Tea', topic: '4', was: '-2' }
    const photo = { type: 'photo', id: 'p' }
    const file = { type: 'document', url: 'u', name: 'n', size: 5 }
    assert.deepEqual(
      await see({ kind: 'reaction', event: 'message_reaction', markup: '**b**', files: [photo, { ...file, media_type: 'm' }], location,
        contact: { phone: '+43', name: 'Ann', user_id: '7' }, quoted, forwarded, sender, chat, message: '55', album: '12', dialog: 'ann@-1' }),
      ['reaction', 'message_reaction', '**b**', [photo, { ...file, mediaType: 'm' }], [photo], location,
        { phone: '+43', name: 'Ann', userId: '7' }, quoted, forwarded, sender, chat, '55', '12', 'ann@-1', null])
    assert.equal((await see({ kind: 'left', event: 'unreachable', text: 'blocked' })).at(-1), 'blocked')
    assert.deepEqual((await see({ contact: { phone: '1' }, quoted: {}, forwarded: {}, sender: {}, chat: {} })).slice(6, 11),
      [{ phone: '1', name: '' }, { message: '', text: '' }, { name: '' }, { name: '' }, { id: '', type: 'private' }])
  })

  test('has each message of its turn', async (t) => {
    const seen = '[turn.text, turn.updates.map((u) => [u.text, u.update.id, u.photos])]'
    const worker = await start(t, `${IMPORT}run((turn) => turn.reply(JSON.stringify(${seen})))`)
    const see = async (turn) => JSON.parse((await worker.turn(turn)).replies[0].text)
    assert.deepEqual(await see({ text: 'hi' }), ['hi', [['hi', 'u1', []]]])
    const photo = { type: 'photo', id: 'p' }
    const updates = [{ update: 'a', kind: 'message', text: 'x', later: 1 }, { update: 'b', kind: 'message', text: '', files: [photo] }]
    assert.deepEqual(await see({ text: 'x', updates }), ['x', [['x', 'a', []], ['', 'b', [photo]]]])
  })

  test('sets timers', async (t) => {
    const worker = await start(t, `${IMPORT}run((turn) => {
      turn.after('10m', 'tea', { a: [1] })
      turn.after(1500, 'b')
      turn.after('3653d', 'h')
      turn.at(new Date('2030-01-01T00:00:00Z'), 'c', 0)
      turn.at(1250, 'd')
      turn.every('0 9 * * MON', 'Europe/Vienna', 'f', 7)
      turn.cancel('e')
      turn.reply(JSON.stringify(turn.timer ?? 'none'))
    })`)
    assert.deepEqual(await worker.turn(), {
      state: {}, replies: [{ text: '"none"' }],
      timers: [{ name: 'tea', after: '10m', data: { a: [1] } }, { name: 'b', after: 1500 }, { name: 'h', after: '3653d' },
        { name: 'c', at: 1893456000000, data: 0 }, { name: 'd', at: 1250 },
        { name: 'f', cron: '0 9 * * MON', zone: 'Europe/Vienna', data: 7 }, { name: 'e', cancel: true }],
    })
    const timer = { name: 'tea', due: 1893456000500, late: 1500, data: { a: 1 } }
    const { replies } = await worker.turn({ kind: 'timer', text: 'tea', timer })
    assert.deepEqual(replies, [{ text: '{"name":"tea","due":"2030-01-01T00:00:00.500Z","late":1500,"data":{"a":1}}' }])
  })

  for (const [call, sentence] of [
    ["turn.after(-1, 'x')", "turn.after: a text such as '10m', or milliseconds, are wanted, not the number -1"],
    ["turn.after('soon', 'x')", "turn.after: 'soon' is no time such as 500ms, 10s, 10m, 2h or 3d"],
    ["turn.after('2 h', 'x')", "turn.after: '2 h' is no time such as"],
    ["turn.after('4000d', 'x')", "turn.after: '4000d' is more than ten years"],
    ["turn.after(4e11, 'x')", 'turn.after: 400000000000 is more than ten years'],
    ["turn.after('1s', 'x'.repeat(65))", "turn.after: a timer's name has 1 to 64 bytes"],
    ["turn.every('0 9 * * *', 'UTC', '')", "turn.every: a timer's name has 1 to 64 bytes"],
    ["turn.after('1s', '')", "turn.after: a timer's name has 1 to 64 bytes"],
    ["turn.after('1s', 7)", 'turn.after: name: a text is wanted, not the number 7'],
    ["turn.after('1s', 'x', 1n)", 'turn.after: the data is JSON:'],
    ["turn.every('0 9 * *', 'UTC', 'x')", "turn.every: five fields such as '0 9 * * MON' are wanted, not"],
    ["turn.every('0 9 * * *', 7, 'x')", 'turn.every: zone: a text is wanted, not the number 7'],
    ["turn.at(new Date(NaN), 'x')", 'turn.at: a Date, or milliseconds since 1970, are wanted, not'],
  ]) {
    test(`as a timer, ${call} fails the turn`, async (t) => {
      const worker = await start(t, `${IMPORT}run((turn) => { ${call} })`)
      const { fail } = await worker.turn()
      assert.ok(fail.error.includes(sentence), fail.error)
    })
  }

  test('keeps steps', async (t) => {
    const worker = await start(t, `${IMPORT}run(async (turn) => {
      const both = await Promise.all([turn.step('a', async () => ({ d: new Date(0), u: undefined })), turn.step('b', () => {})])
      turn.reply(JSON.stringify(both))
    })`)
    const id = worker.begin()
    const next = async () => JSON.parse((await worker.line()).text)
    assert.deepEqual(await next(), { id, step: 1, name: 'a', value: { d: '1970-01-01T00:00:00.000Z' } })
    assert.deepEqual(await next(), { id, step: 2, name: 'b', value: null })
    worker.send({ id, step: 2, value: 'of another attempt' })
    worker.send({ id, step: 1 })
    const { done } = await worker.line()
    assert.equal(done.replies[0].text, '[{"d":"1970-01-01T00:00:00.000Z"},"of another attempt"]')
    // A later attempt does not work for them again.
    const { replies } = await worker.turn({ attempt: 2, steps: { a: null, b: [1] } })
    assert.equal(replies[0].text, '[null,[1]]')
  })

  test('a step that cannot be kept fails where it stands', async (t) => {
    const worker = await start(t, `${IMPORT}run(async (turn) => { await turn.step('a', () => 1) })`)
    const id = worker.begin()
    await worker.line()
    worker.send({ id, step: 1, error: 'the storage is away' })
    const { fail } = await worker.line()
    assert.equal(fail.error, 'StepError: the storage is away')
    assert.ok(fail.trace.includes('bot.mjs:'), fail.trace)
  })

  for (const [call, sentence] of [
    ["turn.step('', () => 1)", "turn.step: a step's name has 1 to 64 bytes"],
    ["turn.step(7, () => 1)", 'turn.step: name: a text is wanted, not the number 7'],
    ["turn.step('a', 7)", 'turn.step: a function is wanted, such as async () => { … }, not the number 7'],
    ["turn.step('a', () => 1n)", "turn.step: the result of 'a' is JSON:"],
    ["Promise.all([turn.step('a', () => 1),\nturn.step('a', () => 1)])", "turn.step: 'a' is used twice in this turn, at "],
    ["Promise.all(Array.from({ length: 101 }, (_, n) => turn.step('s' + n, () => 1)))", "turn.step: 's100' is one more than 100 steps in a turn"],
  ]) {
    test(`as a step, ${call} fails the turn`, async (t) => {
      const worker = await start(t, `${IMPORT}run(async (turn) => { await ${call} })`)
      worker.begin()
      let said
      do said = await worker.line()
      while (said.step !== undefined)
      assert.ok(said.fail.error.includes(sentence), said.fail.error)
      if (sentence.endsWith(' at ')) assert.match(said.fail.error, /bot\.mjs:(\d+) and at \S*bot\.mjs:\d+: each has a name/)
    })
  }

  test('a step whose function failed may be tried again', async (t) => {
    const worker = await start(t, `${IMPORT}run(async (turn) => {
      let n = 0
      const body = () => { if ((n += 1) < 3) throw new Error('no'); return n }
      for (;;) try { return turn.reply(String(await turn.step('a', body))) } catch {}
    })`)
    const id = worker.begin()
    assert.equal((await worker.line()).value, 3)
    worker.send({ id, step: 1 })
    assert.deepEqual((await worker.line()).done.replies, [{ text: '3' }])
  })

  test('opens callbacks, and is told who comes', async (t) => {
    const worker = await start(t, `${IMPORT}run((turn) => {
      const said = [turn.callback('paid'), turn.callback('done', { valid: '2d' }), turn.callback('x', { valid: 1500 })]
      turn.reply(JSON.stringify([said, turn.called ?? 'none']))
    })`)
    const { replies, callbacks } = await worker.turn()
    const tokens = callbacks.map(({ token }) => token)
    assert.deepEqual(callbacks.map(({ token, ...others }) => others), [{ name: 'paid' }, { name: 'done', valid: '2d' }, { name: 'x', valid: 1500 }])
    for (const token of tokens) assert.match(token, /^[A-Za-z0-9_-]{32}$/)
    assert.equal(new Set(tokens).size, 3)
    assert.deepEqual(JSON.parse(replies[0].text), [tokens.map((token) => `https://bot.example/callback/${token}`), 'none'])
    const see = async (called) => JSON.parse((await worker.turn({ kind: 'callback', text: 'paid', called })).replies[0].text)[1]
    const at = 1893456000500
    assert.deepEqual(await see({ name: 'paid', at, body: { a: 1 }, media_type: 'a/b' }),
      { name: 'paid', mediaType: 'a/b', at: '2030-01-01T00:00:00.500Z', body: { a: 1 } })
    assert.deepEqual((await see({ name: 'paid', at, body: { base64: '/w==' } })).body, { type: 'Buffer', data: [255] })
    const by = { channel: 'vk', dialog: '8', user: '9', sender: { name: 'Bob' } }
    assert.deepEqual(await see({ name: 'ok', at, button: 'yes', by }),
      { name: 'ok', mediaType: '', at: '2030-01-01T00:00:00.500Z', body: null, button: 'yes', by })
  })

  test('asks in other dialogs', async (t) => {
    const worker = await start(t, `${IMPORT}run((turn) => {
      turn.askIn('vk', '8', 'Let in?', 'ok', { buttons: [[{ label: 'Yes', data: '1' }]] })
      turn.askIn('vk', '8', { text: 'Sure?', buttons: [[{ label: 'Yes', data: '1' }]] }, 'sure', { valid: 60000 })
    })`)
    const { replies } = await worker.turn()
    assert.deepEqual(replies.map((said) => [said.text, said.ask_in]), [['Let in?', { channel: 'vk', user: '8', name: 'ok' }],
      ['Sure?', { channel: 'vk', user: '8', name: 'sure', valid: 60000 }]])
  })

  for (const [call, sentence] of [
    ["turn.callback('')", "turn.callback: a callback's name has 1 to 64 bytes"],
    ["turn.callback('x', { valid: -1 })", "turn.callback: valid: a text such as '2d', or milliseconds, are wanted"],
    ["turn.askIn('vk', '8', 'a', 'x')", 'turn.askIn: a question needs a button that has data'],
    ["turn.askIn('vk', 8, 'a', 'x', { buttons: [[{ label: 'b', data: 'c' }]] })", 'turn.askIn: user: a text is wanted'],
  ]) {
    test(`as a callback, ${call} fails the turn`, async (t) => {
      const worker = await start(t, `${IMPORT}run((turn) => { ${call} })`)
      const { fail } = await worker.turn()
      assert.ok(fail.error.includes(sentence), fail.error)
    })
  }

  test('says whatever can be said', async (t) => {
    const worker = await start(t, bot(`
      rich(turn) {
        const [sticker, video] = turn.files
        turn.reply('**b**', {
          format: 'markup', silent: true, noPreview: true, protected: true, name: 'menu', quote: true,
          buttons: [[{ label: 'a', data: '1' }, { label: 'b', url: 'https://b' }], { label: 'c', webApp: 'https://c' },
            [{ label: 'd', phone: '+43' }], [{ label: 'e', request: 'contact' }, { label: 'f', request: 'location' }], []],
        })
        turn.reply('Pick', { keyboard: ['one', ['two', { label: 'me', request: 'contact' }]], once: true, quote: 'menu' })
        turn.reply({ text: 'Gone', removeKeyboard: true, quote: { message: '7' } })
        turn.reply('Picked', { keyboard: [['one']], quote: false })
        turn.reply({ location: { latitude: 48.25, longitude: 16, title: 'Café' } })
        turn.reply({ contact: { phone: '+43', name: 'Ann' } })
        turn.reply(new Reply('x', { photo: ['https://a', '/srv/b.png'], document: new URL('file:///srv/c.pdf'), voice: 'd', videoNote: new URL('https://n'),
          files: [{ type: 'audio', data: Buffer.from([255]), name: 'e.mp3', mediaType: 'audio/mpeg' }, sticker, 'f', { ...video, name: 'g' }] }))
      },
      verbs(turn) {
        const menu = new Reply('m').button('a', '1')
        turn.edit('menu', menu)
        turn.edit({ message: '7' }, 'x', { buttons: [{ label: 'b', data: '2' }] })
        turn.editPressed(menu)
        turn.editPressed('y', { format: 'html' })
        turn.delete('menu')
        turn.delete(true)
        turn.toast('Saved')
        turn.toast('Sure?', { alert: true })
        const params = { list: [1, null], when: new Date(0), gone: undefined }
        turn.call('sendDice', params, { name: 'dice' })
        params.list = 2
        turn.call('getMe')
        turn.sendTo('vk', '8', 'z', { silent: true })
        turn.sendTo('vk', '8', menu)
        turn.reply(menu)
      },
    `))
    const files = [{ type: 'sticker', id: 's', url: 'u', size: 5 }, { type: 'video', url: 'v' }]
    assert.deepEqual((await worker.turn({ text: 'rich', files })).replies, [
      {
        text: '**b**',
        format: 'markup',
        buttons: [[{ label: 'a', data: '1' }, { label: 'b', url: 'https://b' }], { label: 'c', web_app: 'https://c' },
          { label: 'd', phone: '+43' }, [{ label: 'e', request: 'contact' }, { label: 'f', request: 'location' }]],
        quote: true,
        silent: true,
        no_preview: true,
        protected: true,
        name: 'menu',
      },
      { text: 'Pick', keyboard: { once: [[{ label: 'one' }], [{ label: 'two' }, { label: 'me', request: 'contact' }]] }, quote: 'menu' },
      { text: 'Gone', keyboard: 'remove', quote: { message: '7' } },
      { text: 'Picked', keyboard: { rows: [[{ label: 'one' }]] } },
      { location: { latitude: 48.25, longitude: 16, title: 'Café' } },
      { contact: { phone: '+43', name: 'Ann' } },
      {
        text: 'x',
        files: [
          { type: 'photo', url: 'https://a' },
          { type: 'photo', path: '/srv/b.png' },
          { type: 'document', path: '/srv/c.pdf' },
          { type: 'voice', id: 'd' },
          { type: 'video_note', url: 'https://n/' },
          { type: 'audio', base64: '/w==', name: 'e.mp3', media_type: 'audio/mpeg' },
          { type: 'sticker', id: 's' },
          { type: 'document', id: 'f' },
          { type: 'video', url: 'v', name: 'g' },
        ],
      },
    ])
    const menu = { text: 'm', buttons: [{ label: 'a', data: '1' }] }
    const to = { channel: 'vk', user: '8' }
    assert.deepEqual((await worker.turn({ text: 'verbs' })).replies, [
      { ...menu, edit: 'menu' },
      { text: 'x', buttons: [{ label: 'b', data: '2' }], edit: { message: '7' } },
      { ...menu, edit: true },
      { text: 'y', format: 'html', edit: true },
      { delete: 'menu' },
      { delete: true },
      { toast: 'Saved' },
      { toast: 'Sure?', alert: true },
      { call: 'sendDice', params: { list: [1, null], when: '1970-01-01T00:00:00.000Z' }, name: 'dice' },
      { call: 'getMe', params: {} },
      { text: 'z', silent: true, send_to: to },
      { ...menu, send_to: to },
      menu,
    ])
  })

  test('holds replies, statements and a state of null', async (t) => {
    const worker = await start(t, bot(`
      async replies(turn) {
        await null
        const menu = new Reply('Tea?').button('Yes', '1').button('No', '0')
        turn.reply(menu)
        menu.button('Another', '2') // Another reply, which nobody uses.
        turn.reply(new Reply('A cat', { photo: 'https://x/cat.jpg' }))
        turn.reply({ photo: 'id' })
        turn.reply({ text: 'x', buttons: [{ label: 'l', data: 'd' }] })
      },
      sql(turn) {
        turn.execute('DELETE FROM a')
        turn.execute('INSERT …', [null, 1.5, true, false, 'ä', 2n ** 53n, 2 ** 60, -(2n ** 63n), 7n, Buffer.from('hi'), new Uint8Array([255]), 1e300])
      },
      forget(turn) { turn.state = null },
      nothing() {},
    `))
    assert.deepEqual((await worker.turn({ text: 'replies' })).replies, [
      { text: 'Tea?', buttons: [{ label: 'Yes', data: '1' }, { label: 'No', data: '0' }] },
      { text: 'A cat', files: [{ type: 'photo', url: 'https://x/cat.jpg' }] },
      { files: [{ type: 'photo', id: 'id' }] },
      { text: 'x', buttons: [{ label: 'l', data: 'd' }] },
    ])
    assert.deepEqual((await worker.turn({ text: 'sql' })).sql, [
      ['DELETE FROM a', []],
      ['INSERT …', [null, 1.5, 1, 0, 'ä', { integer: '9007199254740992' }, { integer: '1152921504606846976' },
        { integer: '-9223372036854775808' }, 7, { base64: 'aGk=' }, { base64: '/w==' }, 1e300]],
    ])
    assert.deepEqual(await worker.turn({ text: 'forget', state: { n: 1 } }), { state: null })
    assert.deepEqual(await worker.turn({ text: 'nothing', state: { n: 1 } }), { state: { n: 1 } })
    // What a handler in another language left is not ours to change.
    assert.deepEqual(await worker.turn({ text: 'nothing', state: 5 }), {})
  })

  test('is answered when it ends, in whatever order', async (t) => {
    const worker = await start(t, `${IMPORT}
      const waiting = []
      run(async (turn) => {
        if (turn.text === 'all') return waiting.reverse().forEach((go) => go())
        await new Promise((resolve) => waiting.push(resolve))
        turn.reply(turn.text)
      })`)
    const ids = Array.from({ length: 1000 }, (_, i) => worker.begin({ text: `t${i}`, user: `u${i}` }))
    worker.begin({ text: 'all' })
    await worker.until(() => worker.lines.length === 1001, '1001 answers')
    const turns = worker.lines.filter((line) => line.done.replies)
    assert.deepEqual(turns.map((line) => line.id), ids.reverse())
    assert.ok(turns.every((line) => line.done.replies[0].text === `t${line.id - 1}`))
  })
})

describe('a question', { concurrency: 4 }, () => {
  test('is asked and answered, several at once', async (t) => {
    const worker = await start(t, bot(`
      async ask(turn) {
        const [a, b] = await Promise.all([turn.query('A', [1n, true]), turn.query('B')])
        turn.reply(typeof a[0].big + ' ' + a[0].big + ' ' + a[0].bytes.toString() + ' ' + a[0].none + ' ' + b.length)
      },
    `))
    const id = worker.begin({ text: 'ask' })
    const a = await worker.line((line) => line.sql === 'A')
    const b = await worker.line((line) => line.sql === 'B')
    assert.deepEqual([a.id, a.params, b.id, b.params], [id, [1, 1], id, []])
    assert.notEqual(a.query, b.query)
    worker.send({ id, query: b.query, rows: [] })
    worker.send({ id, query: a.query, rows: [{ big: { integer: '9007199254740993' }, bytes: { base64: 'aGk=' }, none: null }] })
    assert.deepEqual((await worker.answer(id)).done.replies, [{ text: 'bigint 9007199254740993 hi null 0' }])
  })

  test('that fails says so where it was asked', async (t) => {
    const worker = await start(t, bot(`
      async ask(turn) { await turn.query('SELEC') },
      async care(turn) { try { await turn.query('SELEC') } catch (error) { turn.reply(String(error)) } },
      async badly(turn) { await turn.query('SELECT ?1', [undefined]) },
    `))
    for (const text of ['ask', 'care']) {
      const id = worker.begin({ text })
      const { query } = await worker.line((line) => line.sql)
      worker.send({ id, query, error: 'near "SELEC": syntax error' })
      const { done, fail } = await worker.answer(id)
      if (done) {
        assert.equal(done.replies[0].text, 'QueryError: near "SELEC": syntax error')
      } else {
        assert.equal(fail.error, 'QueryError: near "SELEC": syntax error')
        assert.match(fail.trace, /^ +at .*ask \(.*bot\.mjs:3:\d+\)$/m)
      }
    }
    const { fail } = await worker.turn({ text: 'badly' })
    assert.equal(fail.error, 'TypeError: turn.query: parameter ?1 is undefined; say null')
    assert.match(fail.trace, /^ +at .*bot\.mjs:5:/)
  })

  test('is asked of the platform', async (t) => {
    const worker = await start(t, bot(`
      async ask(turn) {
        const [first, second] = await Promise.all([turn.ask('getChatMember', { user_id: 7 }), turn.ask('getMe')])
        turn.reply(JSON.stringify([first, second]))
        await turn.ask('fail')
      },
    `))
    const id = worker.begin({ text: 'ask' })
    const first = await worker.line((line) => line.method === 'getChatMember')
    const second = await worker.line((line) => line.method === 'getMe')
    assert.deepEqual([first.id, first.params, second.params, second.ask], [id, { user_id: 7 }, {}, first.ask + 1])
    worker.send({ id, ask: second.ask, result: null })
    worker.send({ id, ask: first.ask, result: { status: 'member' } })
    const third = await worker.line((line) => line.method === 'fail')
    worker.send({ id, ask: third.ask, error: 'no such method' })
    const { fail } = await worker.answer(id)
    assert.equal(fail.error, 'PlatformError: no such method')
    assert.match(fail.trace, /^ +at .*ask \(.*bot\.mjs:6:\d+\)$/m)
  })

  test('may be for what was given up; a draft is none', async (t) => {
    const worker = await start(t, bot(`
      async dead(turn) {
        turn.draft('so')
        turn.draft('so far')
        turn.reply(JSON.stringify(await turn.deadReplies()))
      },
    `))
    const id = worker.begin({ text: 'dead' })
    const drafts = [await worker.line((line) => line.draft), await worker.line((line) => line.draft)]
    assert.deepEqual(drafts.map((line) => [line.id, line.draft]), [[id, 'so'], [id, 'so far']])
    const { dead_replies: number } = await worker.line((line) => line.dead_replies)
    worker.send({ id, dead_replies: number, replies: [
      { action: { text: 'hi' }, error: 'blocked', died: 1 }, { action: { edit: 'menu', text: 'x', no_preview: true }, error: 'gone', died: 0 }] })
    const { done } = await worker.answer(id)
    assert.deepEqual(JSON.parse(done.replies[0].text), [
      { action: 'hi', error: 'blocked', died: '1970-01-01T00:00:00.001Z' },
      { action: { edit: 'menu', text: 'x', noPreview: true }, error: 'gone', died: '1970-01-01T00:00:00.000Z' }])
  })

  test('may be for a file', async (t) => {
    const worker = await start(t, bot(`
      async fetch(turn) {
        const [file] = turn.files
        const bytes = await turn.download(file)
        const size = await turn.download(file, { path: 'here', limit: 9 })
        turn.reply(bytes.toString('hex') + ' ' + size)
        await turn.download(file, { limit: 1 }).catch((error) => turn.reply(String(error)))
      },
    `))
    const file = { type: 'voice', id: 'v', media_type: 'm', size: 3 }
    const id = worker.begin({ text: 'fetch', files: [file] })
    const first = await worker.line((line) => line.download === 1)
    assert.deepEqual([first.file, first.limit], [file, 20 * 1024 * 1024])
    fs.writeFileSync(first.path, Buffer.from([0, 255, 33]), { flag: 'wx' })
    worker.send({ id, download: 1, path: first.path, size: 3 })
    const second = await worker.line((line) => line.download === 2)
    assert.deepEqual([second.path, second.limit], [path.join(worker.directory, 'here'), 9])
    assert.equal(fs.existsSync(path.dirname(first.path)), false)
    worker.send({ id, download: 2, path: second.path, size: 3 })
    const third = await worker.line((line) => line.download === 3)
    worker.send({ id, download: 3, error: 'the file has more than 1 bytes' })
    const { replies } = (await worker.answer(id)).done
    assert.deepEqual(replies.map((reply) => reply.text), ['00ff21 3', 'PlatformError: the file has more than 1 bytes'])
    assert.equal(fs.existsSync(path.dirname(third.path)), false)
  })

  test('nobody waits for is forgotten with its turn', async (t) => {
    const worker = await start(t, bot(`
      leave(turn) { turn.query('A') },
      nothing() {},
    `))
    const id = worker.begin({ text: 'leave' })
    const { query } = await worker.line((line) => line.sql)
    await worker.answer(id)
    worker.send({ id, query, rows: [] })
    worker.send({ id, query, error: 'too late' })
    assert.deepEqual(await worker.turn({ text: 'nothing' }), { state: {} })
  })
})

describe("a dialog's own overlap", { concurrency: 4 }, () => {
  test('is part of what the turn leaves', async (t) => {
    const worker = await start(t, `${IMPORT}run((turn) => { turn.overlap('each'); turn.overlap(turn.text === 'none' ? null : turn.text) })`)
    assert.deepEqual(await worker.turn({ text: 'burst 2s' }), { state: {}, overlap: 'burst 2s' })
    assert.deepEqual(await worker.turn({ text: 'none' }), { state: {}, overlap: null })
    const { fail } = await worker.turn({ text: 'bursts' })
    assert.ok(fail.error.includes("TypeError: turn.overlap: each, albums, latest, interrupt or burst with a time such as 'burst 1500ms' is wanted, or null, not 'bursts'"), fail.error)
  })
})

describe('something newer', { concurrency: 4 }, () => {
  test('is waited for with one question, and asked for at once', async (t) => {
    const worker = await start(t, bot(`
      async wait(turn) {
        const [first] = await Promise.all([turn.newer(), turn.newer()])
        turn.reply(String(first))
      },
      async look(turn) { turn.reply(String(await turn.hasNewer())) },
      race(turn) { turn.newer() },
    `))
    const id = worker.begin({ text: 'wait' })
    assert.equal((await worker.line((line) => line.newer)).text, `{"id":${id},"newer":1}`)
    worker.send({ id, newer: 1, result: true })
    assert.deepEqual((await worker.answer(id)).done.replies, [{ text: 'undefined' }])
    const look = worker.begin({ text: 'look' })
    assert.equal((await worker.line((line) => line.id === look && line.newer)).wait, false)
    worker.send({ id: look, newer: 1, result: false })
    assert.deepEqual((await worker.answer(look)).done.replies, [{ text: 'false' }])
    // Whoever does not wait any more is not told, and nothing is unhandled.
    const race = worker.begin({ text: 'race' })
    await worker.answer(race)
    worker.send({ id: race, newer: 1, result: true })
    worker.send({ cancel: race })
    await worker.turn({ text: 'race' })
  })
})
