// A bot's process against a worker of the tests: its life, the bytes of its lines, and `run`.
'use strict'

const assert = require('node:assert/strict')
const { execFileSync, spawnSync } = require('node:child_process')
const path = require('node:path')
const { describe, test } = require('node:test')
const { COUNTER, IMPORT, bot } = require('./support/bots.js')
const { Worker, directory, start } = require('./support/worker.js')

describe('the process', { concurrency: 4 }, () => {
  test('answers pings, and finishes what it has when it is drained', async (t) => {
    const worker = await start(t, `${IMPORT}
      let go
      run(async (turn) => { await new Promise((resolve) => { go = resolve; log.info('in hand') }); turn.reply('done') })
      process.on('SIGUSR2', () => go())`)
    worker.send({ ping: 41 })
    assert.equal((await worker.line()).pong, 41)
    const id = worker.begin()
    assert.deepEqual((await worker.line()).log, { level: 'info', text: 'in hand' })
    worker.send({ drain: true })
    worker.send({ ping: 42 })
    assert.equal((await worker.line()).pong, 42)
    worker.child.kill('SIGUSR2')
    assert.deepEqual((await worker.answer(id)).done.replies, [{ text: 'done' }])
    assert.equal(worker.over, undefined)
    assert.deepEqual(await worker.end(), { code: 0, signal: null })
  })

  for (const signal of ['SIGINT', 'SIGTERM']) {
    test(`lets what is in hand end at ${signal}`, async (t) => {
      const worker = await start(t, `${IMPORT}
        process.on('${signal}', () => log.info('signal'))
        run(async (turn) => {
          if (turn.text === 'go') return go()
          await new Promise((resolve) => { globalThis.go = resolve })
          turn.reply('done')
        })`)
      const id = worker.begin()
      worker.send({ ping: 1 })
      await worker.line()
      worker.child.kill(signal)
      await worker.line((line) => line.log)
      await worker.turn({ text: 'go' })
      assert.deepEqual((await worker.answer(id)).done.replies, [{ text: 'done' }])
      assert.deepEqual(await worker.end(), { code: 0, signal: null })
    })
  }

  test('ends with the pipe, whatever it still has open', async (t) => {
    const worker = await start(t, `${IMPORT}
      setInterval(() => {}, 1000)
      process.on('exit', () => console.log('bye'))
      run(() => new Promise(() => {}))`)
    worker.begin()
    assert.deepEqual(await worker.end(), { code: 0, signal: null })
    assert.deepEqual([worker.stdout, worker.stderr], ['bye\n', ''])
  })

  test('ends quietly when nobody reads its answers', async (t) => {
    const worker = await start(t, `${IMPORT}run(async (turn) => { await null; turn.reply('x'.repeat(1e6)) })`)
    worker.output.destroy()
    worker.begin()
    assert.deepEqual(await worker.ended(), { code: 0, signal: null })
    assert.equal(worker.stderr, '')
  })

  test('loses no line when the author exits', async (t) => {
    const worker = await start(t, `${IMPORT}
      run((turn) => { turn.reply('x'.repeat(3e5)); queueMicrotask(() => process.exit(3)) })`)
    assert.equal((await worker.turn()).replies[0].text.length, 3e5)
    assert.equal((await worker.ended()).code, 3)
  })

  test('prints what it likes', async (t) => {
    const worker = await start(t, `${IMPORT}run((turn) => { process.stdout.write(Buffer.from([0, 255, 10, 254])); console.log('hi'); turn.reply('x') })`)
    await worker.turn()
    await worker.end()
    assert.equal(worker.stdout, '\0\xff\n\xfehi\n')
  })

  for (const garbage of ['garbage', '[1]', '7', '{"surprise":1}', '', '\xff\xfe']) {
    test(`ends when it is sent ${JSON.stringify(garbage)}`, async (t) => {
      const worker = await start(t, COUNTER)
      worker.write(Buffer.from(garbage + '\n', 'latin1'))
      assert.equal((await worker.ended()).code, 1)
      assert.match(worker.stderr, /^turnkey: this came from Turnkey, and is not of the protocol: /)
    })
  }

  test('sends lines to the log', async (t) => {
    const worker = await start(t, `${IMPORT}
      log.warn('before %s', 'hello')
      run((turn) => { log.warn('%d left', 3); log.debug({ a: 1 }); log.error('x'.repeat(1e5)); turn.reply('x') })`)
    await worker.turn()
    const texts = worker.lines.map((line) => [line.log.level, line.log.text.slice(0, 10), line.log.text.length])
    assert.deepEqual(texts, [['warn', '3 left', 6], ['debug', '{ a: 1 }', 8], ['error', 'xxxxxxxxxx', 8192]])
    assert.equal(worker.stderr, 'warn: before hello\n')
  })
})

describe('bytes', { concurrency: 4 }, () => {
  test('of a megabyte of every kind of text come back as they were', async (t) => {
    const text = 'aä€😀\u0000\u0007\u0085\u2028\u2029"\\ \\ud800'.repeat(60_000)
    for (const nonblocking of [false, true]) {
      const worker = await start(t, `${IMPORT}run((turn) => { turn.state.text = turn.text; turn.reply(turn.text) })`, { nonblocking })
      const answer = await worker.answer(worker.begin({ text }))
      assert.ok(answer.text.length > 1e6 && !/[\u0085\u2028\u2029]/.test(answer.text))
      assert.equal(answer.done.replies[0].text, text)
      assert.equal(answer.done.state.text, text)
      assert.deepEqual(await worker.end(), { code: 0, signal: null })
    }
  })

  test('may come one by one', async (t) => {
    const worker = await start(t, COUNTER)
    const line = JSON.stringify({ id: 1, turn: { channel: 'http', user: 'ann', update: '1', kind: 'message', text: '😀\u2028ä', attempt: 1 } })
    for (const byte of Buffer.from(line + '\n')) {
      worker.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal((await worker.answer(1)).done.replies[0].text, '1: 😀\u2028ä')
  })

  test('that are halves of characters become U+FFFD', async (t) => {
    const worker = await start(t, bot(`
      half(turn) {
        turn.state['\\udc00'] = 'a\\ud83d'
        turn.reply('\\ud83d\\ud83d\\ude00 \\\\ud83d')
        turn.execute('\\udfff', ['\\ud800\\\\'])
      },
      fail() { throw new Error('\\ud800') },
    `))
    assert.deepEqual(await worker.turn({ text: 'half' }), {
      state: { '\ufffd': 'a\ufffd' },
      replies: [{ text: '\ufffd😀 \\ud83d' }],
      sql: [['\ufffd', ['\ufffd\\']]],
    })
    assert.equal((await worker.turn({ text: 'fail' })).fail.error, 'Error: \ufffd')
  })
})

describe('run', { concurrency: 4 }, () => {
  const byHand = (t, source, env = {}, command = []) => {
    const made = directory(t, { 'bot.mjs': source })
    const { TURNKEY_PIPES, NODE_TEST_CONTEXT, ...inherited } = process.env
    return spawnSync(process.execPath, [...command, path.join(made, 'bot.mjs')], { env: { ...inherited, ...env }, encoding: 'utf8', timeout: 20_000 })
  }

  test('by hand says how it is run', (t) => {
    const { status, stderr } = byHand(t, COUNTER)
    assert.equal(stderr, 'turnkey: this bot is not run by itself, but by Turnkey:\n  turnkey run bot.mjs\n')
    assert.equal(status, 2)
  })

  test('behind a wrapper that drops descriptors says so', async (t) => {
    const { status, stderr } = byHand(t, COUNTER, { TURNKEY_PIPES: '1:2' })
    assert.equal(status, 2)
    assert.match(stderr, /npm start, the tsx command, node --watch and bun run drop them\.\n +Use turnkey run bot\.mjs, or .*node --import tsx bot\.ts\n$/)
  })

  test('of npm start is such a wrapper', async (t) => {
    const made = directory(t, { 'bot.mjs': COUNTER, 'package.json': '{"scripts":{"start":"node bot.mjs"}}' })
    try { execFileSync('npm', ['--version']) } catch { return t.skip('there is no npm') }
    const worker = new Worker(t, '--silent', { command: ['npm', 'start', '--prefix', made], env: { PATH: process.env.PATH } })
    assert.equal((await worker.ended()).code, 2)
    assert.match(worker.stderr, /descriptors 3 and 4 did not come through/)
  })

  test('a second time is an error, of another copy of the SDK too', async (t) => {
    const worker = await start(t, `${COUNTER}
      import { createRequire } from 'node:module'
      const require = createRequire(import.meta.url)
      const { run: other } = (delete require.cache[require.resolve('turnkey')], require('turnkey'))
      for (const again of [run, other]) try { again(() => {}) } catch (error) { console.log(error.message) }`)
    await worker.turn()
    assert.match(worker.stdout, /^(run was called before: a process has one handler.*\n){2}$/)
  })

  for (const [call, sentence] of [
    ['run()', 'TypeError: run: a handler is wanted, such as async (turn) => { … }, not undefined'],
    ['run(() => {}, { concurency: 1 })', 'TypeError: run: there is no option concurency; there are concurrency, raw, hears, dialogBy, overlap, every, givenUp and name'],
    ["run(() => {}, { every: 'x' })", "TypeError: run: every: such as { digest: ['0 9 * * MON', 'Europe/Vienna'] } is wanted, not a text"],
    ["run(() => {}, { every: { a: 'x' } })", "TypeError: run: every: a: a cron expression and a time zone are wanted, such as ['0 9 * * MON', 'Europe/Vienna'], not 'x'"],
    ['run(() => {}, { concurrency: 0 })', 'RangeError: run: concurrency: a whole number of 1 to 65536 is wanted, not the number 0'],
    ['run(() => {}, { raw: 1 })', 'TypeError: run: raw: true or false is wanted, not the number 1'],
    ["run(() => {}, { dialogBy: 'group' })", "TypeError: run: dialogBy: one of user, chat, user_in_chat is wanted, not 'group'"],
    ["run(() => {}, { overlap: 'burst' })", "TypeError: run: overlap: each, albums, latest, interrupt or burst with a time such as 'burst 1500ms' is wanted, or an object of these by channel, not 'burst'"],
    ["run(() => {}, { overlap: { vk: 7 } })", "TypeError: run: overlap: each, albums, latest, interrupt or burst with a time such as 'burst 1500ms' is wanted, or an object of these by channel, not 7"],
    ["run(() => {}, { overlap: null })", "TypeError: run: overlap: each, albums, latest, interrupt or burst with a time such as 'burst 1500ms' is wanted, or an object of these by channel, not null"],
    ["run(() => {}, { hears: ['edits'] })", "TypeError: run: hears: one of message, button, opened, joined, left, edited, reaction, inline, payment, join_request, business, other is wanted, not 'edits'"],
    ['run(() => {}, { name: 7 })', 'TypeError: run: name: a text is wanted, not the number 7'],
  ]) {
    test(`as ${call} is an error`, (t) => {
      const { status, stderr } = byHand(t, `${IMPORT}${call}`)
      assert.equal(status, 1)
      assert.ok(stderr.includes(`\n${sentence}\n`), stderr)
    })
  }
})
