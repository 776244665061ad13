// What an author hands in: what is refused, with which sentence, and what passes.
'use strict'

const assert = require('node:assert/strict')
const { describe, test } = require('node:test')
const vm = require('node:vm')
const { GiveUp, Reply, Retry } = require('../src/index.js')
const { Turn } = require('../src/turn.js')
const { checkState, fromRows, line, toParams } = require('../src/values.js')

const turn = () => new Turn({ kind: 'message', text: 'hi' }, async () => [])

/** What a call throws, as it would be told. */
function thrown(call) {
  try {
    call()
  } catch (error) {
    return String(error)
  }
  throw new Error('it did not throw')
}

describe('a state', () => {
  const cycle = { list: [] }
  cycle.list.push({ cycle })
  let deep = {}
  for (let i = 0; i < 100; i += 1) deep = { deep }
  class Visit {}
  for (const [state, sentence] of [
    [undefined, 'state: an object is wanted, or null to forget the user, not undefined'],
    [[1], 'state: an object is wanted, or null to forget the user, not an array'],
    [7, 'state: an object is wanted, or null to forget the user, not the number 7'],
    [{ visits: [1, 2, undefined] }, 'state.visits[2] is undefined: the state is JSON, which has null in its place'],
    [{ a: [, 1] }, 'state.a[0] is undefined: the state is JSON, which has null in its place'],
    [{ a: { 'b c': NaN } }, 'state.a["b c"] is the number NaN: the state is JSON, which has no such number; say null'],
    [{ a: -Infinity }, 'state.a is the number -Infinity: the state is JSON, which has no such number; say null'],
    [{ a: 2 ** 53 }, 'state.a is the number 9007199254740992: beyond 2^53 JavaScript does not keep whole numbers exactly; keep it as a text'],
    [{ a: 7n }, 'state.a is the BigInt 7n: the state is JSON; keep it as a text'],
    [{ a: new Map() }, 'state.a is a Map: keep Object.fromEntries(…) of it'],
    [{ a: new Set() }, 'state.a is a Set: keep an array, [...set]'],
    [{ a: new Date(0) }, 'state.a is a Date: keep .toISOString() of it, or .getTime()'],
    [new Date(0), 'state is a Date: keep .toISOString() of it, or .getTime()'],
    [{ a: () => {} }, 'state.a is a function: the state is JSON, and holds only data'],
    [{ a: Symbol('x') }, 'state.a is a symbol: the state is JSON, and holds only data'],
    [{ a: [new Visit()] }, 'state.a[0] is a Visit: the state is JSON, from which it would come back as a plain object'],
    [{ a: Buffer.from('x') }, 'state.a is a Buffer: the state is JSON, from which it would come back as a plain object'],
    [{ toJSON() {} }, 'state.toJSON is a function: the state is JSON, and holds only data'],
    [cycle, 'state.list[0].cycle is an object: it contains itself'],
  ]) {
    test(`is refused with ${sentence.slice(0, 60)}`, () => {
      assert.equal(thrown(() => checkState(state)), `TypeError: ${sentence}`)
    })
  }

  test('has 100 levels', () => {
    checkState(deep.deep)
    assert.match(thrown(() => checkState(deep)), /^TypeError: state(\.deep){100} is an object: the state has at most 100 levels$/)
  })

  test('is what JSON keeps', () => {
    const shared = { a: 1 }
    const bare = Object.assign(Object.create(null), { x: 1 })
    for (const state of [null, {}, { n: -0.5, t: '', b: true, z: null, l: [[], {}], gone: undefined, shared, again: shared, bare },
      vm.runInNewContext('({ list: [1], object: {} })'), { m: Number.MAX_SAFE_INTEGER, f: 1e-300 }]) checkState(state)
  })
})

const FIELDS = 'text, format, photo, document, voice, audio, video, videoNote, sticker, animation, files, location, contact, ' +
  'buttons, keyboard, once, removeKeyboard, quote, silent, noPreview, protected, name'
const SOURCE = "an address, a path, the platform's id, a URL, a file of turn.files, or { data, name } is wanted"

describe('a reply', () => {
  for (const [call, sentence] of [
    [(t) => t.reply(7), 'turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not the number 7'],
    [(t) => t.reply(undefined), 'turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not undefined'],
    [(t) => t.reply(null), 'turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not null'],
    [(t) => t.reply(['a']), 'turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not an array'],
    [(t) => t.reply(new Date(0)), 'turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not a Date'],
    [(t) => t.reply(Promise.resolve('a')), 'turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not a Promise'],
    [(t) => t.reply(''), 'turn.reply: the text is empty'],
    [(t) => t.reply({}), 'turn.reply: a reply has a text, a file, a location or a contact'],
    [(t) => t.reply(new Reply()), 'turn.reply: a reply has a text, a file, a location or a contact'],
    [(t) => t.reply({ text: 7 }), 'turn.reply: text: a text is wanted, not the number 7'],
    [(t) => t.reply({ text: 'a', button: [] }), `turn.reply: a reply has no button; it has ${FIELDS}`],
    [(t) => t.reply({ text: 'a', picture: 'x' }), `turn.reply: a reply has no picture; it has ${FIELDS}`],
    [(t) => t.reply('a', { phto: 'x' }), `new Reply: a reply has no phto; it has ${FIELDS}`],
    [(t) => t.reply({ photo: 1 }), `turn.reply: photo: ${SOURCE}, not the number 1`],
    [(t) => t.reply({ photo: Buffer.from('x') }), `turn.reply: photo: ${SOURCE}, not a Buffer`],
    [(t) => t.reply({ files: 'x' }), 'turn.reply: files: an array is wanted, not a text'],
    [(t) => t.reply({ document: { data: Buffer.from('x') } }), 'turn.reply: document: a file of bytes needs a name: { data, name }'],
    [(t) => t.reply({ document: { data: 'x', name: 'n' } }), 'turn.reply: document: data: a Buffer is wanted, not a text'],
    [(t) => t.reply({ files: [{ type: 'film', id: 'x' }] }), 'turn.reply: files[0]: type: one of photo, document, voice, audio, video, video_note, sticker, animation is wanted, not a text'],
    [(t) => t.reply({ files: [{}] }), 'turn.reply: files[0]: a file has an id, a url, a path or data'],
    [(t) => t.reply('a', { format: 'md' }), "turn.reply: format: 'plain', 'markup' or 'html' is wanted, not a text"],
    [(t) => t.reply({ location: {} }), 'turn.reply: location: degrees are numbers, not undefined'],
    [(t) => t.reply({ contact: { phone: 7 } }), 'turn.reply: contact: phone: a text is wanted, not the number 7'],
    [(t) => t.reply('a', { keyboard: [] }), 'turn.reply: keyboard: it has no button; removeKeyboard: true takes it away'],
    [(t) => t.reply('a', { once: true }), 'turn.reply: once is for a keyboard, and there is none'],
    [(t) => t.reply(new Reply('a'), { silent: true }), 'turn.reply: options go with a text; a Reply has its own'],
    [(t) => t.edit(7, 'a'), 'turn.edit: the name of a message, true for the one of this turn, or { message: id } is wanted, not the number 7'],
    [(t) => t.edit('menu'), 'turn.edit: a text, a Reply or { text, photo, buttons, … } is wanted, not undefined'],
    [(t) => t.delete(''), 'turn.delete: the name of a message is empty'],
    [(t) => t.toast(7), 'turn.toast: a text is wanted, not the number 7'],
    [(t) => t.call('x', []), 'turn.call: the parameters are an object, such as { user_id: 7 }, not an array'],
    [(t) => t.call('x', { a: 1n }), 'turn.call: the parameters are JSON: Do not know how to serialize a BigInt'],
    [(t) => t.sendTo('vk', 7, 'a'), 'turn.sendTo: user: a text is wanted, not the number 7'],
    [(t) => t.reply({ text: 'a', buttons: {} }), 'turn.reply: buttons: an array of rows is wanted, not an object'],
    [(t) => t.reply({ text: 'a', buttons: ['b'] }), 'turn.reply: buttons[0]: { label, data } is wanted, not a text'],
    [(t) => t.reply({ text: 'a', buttons: [{ label: 'b' }] }), 'turn.reply: buttons[0]: a button under a message has data, url, webApp, phone or request'],
    [(t) => t.reply({ text: 'a', buttons: [[{ label: 'b', data: 7 }]] }), 'turn.reply: buttons[0][0].data: a text is wanted, not the number 7'],
    [(t) => t.reply({ text: 'a', buttons: [{ label: 'b', data: '1', url: 'u' }] }), 'turn.reply: buttons[0]: a button does one thing: it has one of data, url, webApp, phone, request'],
    [(t) => t.reply({ text: 'a', buttons: [{ label: 'b', link: 'u' }] }), 'turn.reply: buttons[0]: a button has no link; it has label, data, url, webApp, phone, request'],
    [() => new Reply('a').button('b', 1), 'button: data: a text is wanted, not the number 1'],
    [() => new Reply(1), 'new Reply: a text is wanted, not the number 1'],
    [() => new Reply('a', 7), 'new Reply: options such as { photo, buttons } are wanted, not the number 7'],
  ]) {
    test(`of ${call} is refused`, () => assert.equal(thrown(() => call(turn())), `TypeError: ${sentence}`))
  }

  test('never changes', () => {
    const menu = new Reply('Menu')
    const more = menu.button('a', '1')
    assert.deepEqual([menu.buttons, more.buttons.length, more instanceof Reply], [undefined, 1, true])
  })
})

describe('a parameter', () => {
  for (const [value, sentence] of [
    [undefined, 'TypeError: x: parameter ?2 is undefined; say null'],
    [NaN, 'TypeError: x: parameter ?2 is NaN, which SQL does not have; say null'],
    [new Date(0), 'TypeError: x: parameter ?2 is a Date; pass .toISOString() of it, or .getTime()'],
    [{}, 'TypeError: x: parameter ?2 is an object; pass null, a number, a BigInt, a text, true, false or a Buffer, or JSON.stringify(…) of it'],
    [() => {}, 'TypeError: x: parameter ?2 is a function; pass null, a number, a BigInt, a text, true, false or a Buffer'],
    [2n ** 63n, "RangeError: x: parameter ?2 is 9223372036854775808n: SQL's integers have 64 bits"],
  ]) {
    test(`is refused with ${sentence}`, () => assert.equal(thrown(() => toParams([1, value], 'x')), sentence))
  }

  test('list is an array, without gaps, and the statement a text', () => {
    assert.match(thrown(() => toParams('ann', 'x')), /^TypeError: x: the parameters are an array, such as \[turn\.userId\], not a text$/)
    assert.match(thrown(() => toParams([, 1], 'x')), /parameter \?1 is undefined/)
    assert.match(thrown(() => turn().execute(7)), /^TypeError: turn\.execute: a text is wanted, not the number 7$/)
  })

  test('comes back from a row as it was', () => {
    const values = [null, 0, -1.5, 'ä', 9007199254740993n, -(2n ** 63n), Buffer.from([0, 255]), Number.MAX_SAFE_INTEGER]
    const row = JSON.parse(JSON.stringify(Object.assign({}, toParams(values, 'x'))))
    assert.deepEqual(Object.values(fromRows([row])[0]), values)
    const view = new Uint8Array(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2)
    assert.deepEqual(toParams([view], 'x'), [{ base64: 'AgM=' }])
  })
})

test('a line has one end, and no half of a character', () => {
  const text = line({ '\u2028\ud800': ['a\u0085\u2029\n', '\\ud800', '\\\ud800', '😀', '\udc00\ud83d'] })
  assert.deepEqual(text.match(/[\n\r\u0085\u2028\u2029]/g), ['\n'])
  assert.deepEqual(JSON.parse(text), { '\u2028\ufffd': ['a\u0085\u2029\n', '\\ud800', '\\\ufffd', '😀', '\ufffd\ufffd'] })
})

test('Retry and GiveUp have their sentences', () => {
  assert.match(thrown(() => new Retry(-1)), /^RangeError: new Retry: 0 to 86400 seconds are wanted, not the number -1$/)
  assert.match(thrown(() => new Retry(NaN)), /not the number NaN$/)
  assert.deepEqual([String(new Retry(5)), String(new Retry(5, 'busy')), String(new GiveUp('no'))],
    ['Retry: try again in 5 s', 'Retry: busy', 'GiveUp: no'])
})
