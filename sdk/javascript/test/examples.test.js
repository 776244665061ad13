// The examples in JavaScript: their own tests pass, and they run.
'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { SDK, start } = require('./support/worker.js')

const EXAMPLES = path.join(SDK, '../../examples/handlers')
const skip = !fs.existsSync(EXAMPLES) && 'the package has no examples'

test('the counter counts', { skip }, async (t) => {
  const worker = await start(t, fs.readFileSync(path.join(EXAMPLES, 'counter.mjs'), 'utf8'))
  assert.deepEqual(await worker.turn({ state: { count: 3 } }), { state: { count: 4 }, replies: [{ text: '4: hi' }] })
})

test('the booking bot books', { skip }, async (t) => {
  const worker = await start(t, fs.readFileSync(path.join(EXAMPLES, 'booking.mjs'), 'utf8'), { env: { BOOKING_CALENDAR_MS: '0' } })
  const id = worker.begin({ kind: 'button', text: 'book Mon 10:00' })
  const { query } = await worker.line((line) => line.sql)
  worker.send({ id, query, rows: [{ hour: 'Tue 10:00' }] })
  const { done } = await worker.answer(id)
  assert.deepEqual(done.sql, [['INSERT INTO bookings (hour, visitor) VALUES (?1, ?2)', ['Mon 10:00', 'http:ann']]])
  assert.deepEqual(done.state, { hour: 'Mon 10:00' })
})

const unable = (!fs.existsSync(path.join(EXAMPLES, 'migrations')) && 'there is no examples/handlers/migrations') ||
  (!require('node:module').register && 'this Node.js has no module.register')

test('the examples pass their own tests', { skip: skip || unable }, async (t) => {
  const { build } = await import('../carried/build.mjs')
  const { NODE_TEST_CONTEXT, ...env } = process.env
  const files = ['booking.test.mjs', 'desk.test.mjs'].map((file) => path.join(EXAMPLES, file))
  const { status, stdout } = spawnSync(process.execPath, ['--test', ...files],
    { env: { ...env, NODE_OPTIONS: build() }, encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})
