// Turns that fail or are cancelled: a bot's process against a worker of the tests.
'use strict'

const assert = require('node:assert/strict')
const { describe, test } = require('node:test')
const { IMPORT, bot } = require('./support/bots.js')
const { start } = require('./support/worker.js')

describe('a failure', { concurrency: 4 }, () => {
  test('names the error and begins in the author’s file', async (t) => {
    const worker = await start(t, bot(`
      plain(turn) { turn.state.a.b = 1 },
      async late(turn) { await null; turn.nothing() },
      reply(turn) { turn.reply(7) },
      cause() { throw new Error('no tea', { cause: new RangeError('the pot\\nis empty') }) },
      text() { throw 'up' },
      nothing() { return Promise.reject() },
      hostile() { throw Object.defineProperty(new Error('x'), 'stack', { get() { throw 1 } }) },
      huge() { throw new Error('ä'.repeat(100000)) },
      deep() { const error = new Error('deep'); error.stack = 'Error: deep\\n' + '    at x (y.js:1:1)\\n'.repeat(10000); throw error },
      thenable(turn) { return { then(resolve) { turn.reply('a'); resolve(); resolve() } } },
    `))
    const fails = async (text) => (await worker.turn({ text })).fail
    const plain = await fails('plain')
    assert.match(plain.error, /^TypeError: Cannot set properties of undefined/)
    assert.match(plain.trace, /^ +at .*plain \(file:.*bot\.mjs:3:\d+\)\n/)
    assert.doesNotMatch(plain.trace, /node:|sdk\/javascript\/src/)
    assert.match((await fails('late')).trace, /^ +at .*late \(.*bot\.mjs:4:/)
    const reply = await fails('reply')
    assert.equal(reply.error, 'TypeError: turn.reply: a text, a Reply or { text, photo, buttons, … } is wanted, not the number 7')
    assert.match(reply.trace, /^ +at .*bot\.mjs:5:/)
    const cause = await fails('cause')
    assert.equal(cause.error, 'Error: no tea: RangeError: the pot is empty')
    assert.match(cause.trace, /^ +at .*\n(.*\n)*caused by RangeError: the pot\nis empty\n +at /)
    assert.deepEqual(await fails('text'), { error: "the handler threw 'up', which is no Error" })
    assert.deepEqual(await fails('nothing'), { error: 'the handler threw undefined, which is no Error' })
    assert.deepEqual(await fails('hostile'), { error: 'the handler threw something that cannot be shown' })
    assert.equal(Buffer.byteLength((await fails('huge')).error), 8191)
    assert.equal((await fails('deep')).trace.length, 65536)
    assert.deepEqual((await worker.turn({ text: 'thenable' })).replies, [{ text: 'a' }])
  })

  test('may ask for another attempt, or for none', async (t) => {
    const worker = await start(t, bot(`
      retry() { throw new Retry(30, 'the calendar is busy') },
      async giveUp() { throw new GiveUp('not one of ours', { cause: new Error('why') }) },
      wrong() { throw new Retry('soon') },
      queued(turn) { turn.reply('x'); turn.state.n = 1; throw new Retry(0.5) },
    `))
    assert.deepEqual(await worker.turn({ text: 'retry' }), { fail: { error: 'the calendar is busy', retry_in: 30 } })
    const { fail } = await worker.turn({ text: 'giveUp' })
    assert.deepEqual([fail.error, fail.give_up], ['not one of ours: Error: why', true])
    assert.match((await worker.turn({ text: 'wrong' })).fail.error, /^RangeError: new Retry: 0 to 86400 seconds/)
    assert.deepEqual(await worker.turn({ text: 'queued' }), { fail: { error: 'try again in 0.5 s', retry_in: 0.5 } })
  })

  test('is what is queued too late', async (t) => {
    const worker = await start(t, `${IMPORT}
      let old
      run((turn) => { old?.reply('late'); old = turn })`)
    await worker.turn()
    assert.match((await worker.turn()).fail.error, /turn\.reply: this turn has ended; is there an await missing/)
  })

  test('of an answer that is too large is the turn’s own', async (t) => {
    const worker = await start(t, bot(`
      large(turn) { turn.reply('ä'.repeat(9e6)) },
      ask(turn) { return turn.query('x'.repeat(17e6)) },
      many(turn) { for (let i = 0; i < 1001; i += 1) turn.reply('x') },
      small(turn) { turn.reply('x') },
    `))
    assert.match((await worker.turn({ text: 'large' })).fail.error, /^RangeError: 1800\d+ bytes in one message to Turnkey; 16777216 is the limit/)
    assert.match((await worker.turn({ text: 'ask' })).fail.error, /^(QueryError|RangeError): 1700\d+ bytes in one message/)
    assert.match((await worker.turn({ text: 'many' })).fail.error, /^RangeError: turn.reply: 1000 replies/)
    assert.deepEqual((await worker.turn({ text: 'small' })).replies, [{ text: 'x' }])
  })

  test('outside of a turn is the process’s end, with its words on stderr', async (t) => {
    const worker = await start(t, bot(`
      async later() { setTimeout(() => { throw new Error('outside') }); await new Promise(() => {}) },
      async reject() { Promise.reject(new Error('outside')); await new Promise(() => {}) },
    `))
    worker.begin({ text: 'later' })
    assert.equal((await worker.ended()).code, 1)
    assert.match(worker.stderr, /Error: outside\n +at .*bot\.mjs:3:/)
  })
})

describe('cancel', { concurrency: 4 }, () => {
  test('aborts the signal, and the turn still answers', async (t) => {
    const worker = await start(t, bot(`
      async wait(turn) {
        const { signal } = turn
        await new Promise((resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
      async busy(turn) {
        await new Promise((resolve) => { globalThis.go = resolve })
        turn.reply(String(turn.signal.aborted))
        await turn.query('A')
      },
      go() { go() },
    `))
    const wait = worker.begin({ text: 'wait' })
    worker.send({ cancel: wait })
    assert.equal((await worker.answer(wait)).fail.error, 'TimeoutError: the turn took longer than --turn-timeout')
    const busy = worker.begin({ text: 'busy' })
    worker.send({ cancel: busy })
    await worker.turn({ text: 'go' })
    assert.equal((await worker.answer(busy)).fail.error, 'TimeoutError: the turn took longer than --turn-timeout')
    // One that was answered in the meantime, or was never there.
    worker.send({ cancel: busy })
    worker.send({ cancel: 999 })
    await worker.turn({ text: 'go' })
  })

  test('of an interrupted turn says so, and ends what waits for something newer', async (t) => {
    const worker = await start(t, bot("async wait(turn) { turn.newer(); await turn.newer() },"))
    const id = worker.begin({ text: 'wait' })
    assert.equal((await worker.line((line) => line.newer)).newer, 1)
    worker.send({ cancel: id, reason: 'newer' })
    assert.equal((await worker.answer(id)).fail.error, 'AbortError: a newer message has come')
  })

  test('by a newer message does nothing once there is a step', async (t) => {
    const worker = await start(t, bot(`
      async pay(turn) {
        const paid = await turn.step('charge', () => new Promise((resolve) => { globalThis.go = resolve }))
        turn.reply(paid + turn.signal.aborted)
      },
      go() { go('paid ') },
    `))
    const id = worker.begin({ text: 'pay' })
    worker.send({ cancel: id, reason: 'newer' })
    await worker.turn({ text: 'go' })
    const { step } = await worker.line((line) => line.step)
    worker.send({ id, step })
    assert.deepEqual((await worker.answer(id)).done.replies, [{ text: 'paid false' }])
  })

  test('ends the wait for an answer of the database', async (t) => {
    const worker = await start(t, bot("async ask(turn) { await turn.query('A') }, nothing() {},"))
    const id = worker.begin({ text: 'ask' })
    const { query } = await worker.line((line) => line.sql)
    worker.send({ cancel: id })
    assert.match((await worker.answer(id)).fail.error, /^TimeoutError/)
    worker.send({ id, query, rows: [] })
    await worker.turn({ text: 'nothing' })
  })
})
