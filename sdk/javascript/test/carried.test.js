// The SDK inside the program: a lone bot finds it, with nothing else on the disk.
'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const path = require('node:path')
const { before, describe, test } = require('node:test')
const { directory, start } = require('./support/worker.js')

const [major, minor] = process.versions.node.split('.').map(Number)
const old = (major === 18 && minor < 19) || (major === 20 && minor < 6)
const skip = old && 'this Node.js has no module.register'

const COUNTER = `run((turn) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  turn.reply(turn.state.count + ': ' + turn.text)
  if (turn.text === 'fail') turn.reply(7)
})`

describe('the carried SDK', { concurrency: 4, skip }, () => {
  let options
  before(async () => { options = (await import('../carried/build.mjs')).build() })

  const lone = (t, files, name = 'bot.mjs') => {
    const made = directory(t, files, { installed: false })
    const { NODE_TEST_CONTEXT, TURNKEY_PIPES, ...env } = process.env
    return spawnSync(process.execPath, [path.join(made, name)], { env: { ...env, NODE_OPTIONS: options }, encoding: 'utf8' })
  }

  test('fits into the environment', () => assert.ok('NODE_OPTIONS='.length + options.length + 1 <= 131072, String(options.length)))

  for (const [name, head] of [
    ['bot.mjs', "import { run } from 'turnkey'\n"],
    ['bot.cjs', "const { run } = require('turnkey');\n"],
    ['bot.js', "const { run } = require('turnkey');\n"],
  ]) {
    test(`serves a lone ${name}, and is not in its traces`, async (t) => {
      const worker = await start(t, head + COUNTER, { name, installed: false, env: { NODE_OPTIONS: options } })
      assert.deepEqual(await worker.turn(), { state: { count: 1 }, replies: [{ text: '1: hi' }] })
      const { fail } = await worker.turn({ text: 'fail' })
      assert.match(fail.error, /^TypeError: turn\.reply: a text, a Reply/)
      assert.match(fail.trace, new RegExp(`^ +at .*${name}:5:[0-9]+\\)?$`))
      await worker.end()
      assert.equal(worker.stderr, '')
    })
  }

  test('is the same for import and require, with its testing part', (t) => {
    const { stdout, stderr } = lone(t, { 'bot.mjs': `
      import { Conversation } from 'turnkey/testing'
      import { Reply, run, log, Retry, GiveUp } from 'turnkey'
      import { createRequire } from 'node:module'
      import './other.cjs'
      const require = createRequire(import.meta.url)
      console.log(require('turnkey').Reply === Reply, require('turnkey/testing').Conversation === Conversation, other === Reply)
      console.log(await new Conversation((turn) => turn.reply(turn.text)).says('ann', 'hi'))
    `, 'other.cjs': "globalThis.other = require('turnkey').Reply" })
    assert.equal(stderr, '')
    assert.equal(stdout, "true true true\n[ 'hi' ]\n")
  })

  test('gives way to one that is installed', (t) => {
    const installed = { 'node_modules/turnkey/package.json': '{"exports":"./src/index.js"}', 'node_modules/turnkey/src/index.js': 'exports.run = "installed"' }
    assert.equal(lone(t, { 'bot.mjs': "import { run } from 'turnkey'; console.log(run)", ...installed }).stdout, 'installed\n')
    assert.equal(lone(t, { 'bot.cjs': "console.log(require('turnkey').run)", ...installed }, 'bot.cjs').stdout, 'installed\n')
    // One that is broken is not passed over in silence.
    const broken = { ...installed, 'node_modules/turnkey/src/index.js': 'throw new Error("broken")' }
    assert.match(lone(t, { 'bot.mjs': "import 'turnkey'", ...broken }).stderr, /broken/)
  })

  test('does not give way to another package of the name', (t) => {
    const other = { 'node_modules/turnkey/package.json': '{"main":"lib.js"}', 'node_modules/turnkey/lib.js': 'exports.login = 1' }
    const show = 'console.log(typeof run, typeof Conversation)'
    const mjs = `import { run } from 'turnkey'; import { Conversation } from 'turnkey/testing'; ${show}`
    assert.equal(lone(t, { 'bot.mjs': mjs, ...other }).stdout, 'function function\n')
    const cjs = `const { run } = require('turnkey'), { Conversation } = require('turnkey/testing'); ${show}`
    assert.equal(lone(t, { 'bot.cjs': cjs, ...other }, 'bot.cjs').stdout, 'function function\n')
  })

  test('keeps errors readable', (t) => {
    for (const [name, source, expected] of [
      ['bot.mjs', "import 'turnky'", /Cannot find package 'turnky' imported from .*bot\.mjs/],
      ['bot.cjs', "require('turnky')", /Cannot find module 'turnky'/],
      ['bot.mjs', "import { run, rum } from 'turnkey'", /does not provide an export named 'rum'|Export named 'rum' not found/],
      ['bot.mjs', 'let x = ;', /bot\.mjs:1\nlet x = ;/],
      ['bot.mjs', "import { run } from 'turnkey'; run(() => {})", /^turnkey: this bot is not run by itself, but by Turnkey:\n {2}turnkey run bot\.mjs\n$/],
    ]) {
      const { status, stderr } = lone(t, { [name]: source }, name)
      assert.notEqual(status, 0)
      assert.match(stderr, expected)
      assert.ok(Math.max(...stderr.split('\n').map((line) => line.length)) < 300, stderr)
    }
  })

  test('hides no part of Node.js from require', (t) => {
    const source = `
      const { builtinModules } = require('node:module')
      const names = [...builtinModules.filter((name) => !name.startsWith('_')).map((name) => name.replace(/^(node:)?/, 'node:')), 'node:test']
      for (const name of ['node:sqlite', 'node:sea']) if (process.getBuiltinModule?.(name)) names.push(name)
      for (const name of names) require(name)
      console.log(names.length > 30)`
    assert.equal(lone(t, { 'bot.cjs': source }, 'bot.cjs').stdout, 'true\n')
  })

  test('leaves what the author’s own NODE_OPTIONS say', (t) => {
    options = `--no-deprecation ${options}`
    assert.equal(lone(t, { 'bot.mjs': "import 'turnkey'; console.log(process.noDeprecation)" }).stdout, 'true\n')
  })
})

const bun = process.env.TURNKEY_TEST_BUN
test('Bun has it, too', { skip: !bun && 'TURNKEY_TEST_BUN names no bun' }, async (t) => {
  const { build } = await import('../carried/build.mjs')
  const env = { BUN_OPTIONS: build('--no-install --preload=') }
  const head = "import { run } from 'turnkey'\n"
  const worker = await start(t, head + COUNTER, { name: 'bot.ts', installed: false, command: [bun], env })
  assert.deepEqual(await worker.turn(), { state: { count: 1 }, replies: [{ text: '1: hi' }] })
  await worker.end()
  const made = directory(t, { 'bot.mjs': `${head}console.log(run)`, 'node_modules/turnkey/index.js': 'exports.run = "installed"' }, { installed: false })
  assert.equal(spawnSync(bun, [path.join(made, 'bot.mjs')], { env: { ...process.env, ...env }, encoding: 'utf8' }).stdout, 'installed\n')
})
