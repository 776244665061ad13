// The types, with the compiler at its strictest: for ES modules, for CommonJS, for bundlers.
//
// TYPESCRIPT names the directory of the package typescript; without it, it is fetched from
// npm into the temporary directory, once. Where that fails, the tests are skipped.
'use strict'

const assert = require('node:assert/strict')
const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { before, describe, test } = require('node:test')
const { directory } = require('./support/worker.js')

const VERSION = '5.9'

const SAMPLE = (imports) => `${imports}
interface Visitor { count?: number, visits?: { at: string }[] }
const answer = async (turn: Turn<Visitor>) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  turn.reply(\`\${turn.state.count}: \${turn.text}\`)
  turn.reply(new Reply('Tea?').button('Yes', 'tea:1'))
  turn.reply(new Reply('c', { photo: 'https://x', buttons: [[{ label: 'l', data: 'd' }, { label: 'u', url: 'https://u' }]] }))
  turn.reply('x', { format: 'markup', keyboard: [['a', { label: 'b', request: 'contact' }], 'c'], once: true, quote: true })
  turn.reply({ photo: ['a', new URL('https://x')], files: [turn.files[0]!, { data: new Uint8Array(1), name: 'n', type: 'voice' }] })
  turn.edit('menu', 'x', { silent: true })
  turn.edit({ message: turn.message }, new Reply('x').row({ label: 'l', webApp: 'https://w' }))
  turn.editPressed({ text: 'x', location: { latitude: 1, longitude: 2 } })
  turn.delete(true)
  turn.toast('x', { alert: true })
  turn.call('sendDice', { emoji: 'x' }, { name: 'dice' })
  turn.sendTo('vk', turn.dialogId, 'x', { noPreview: true })
  turn.draft(turn.unreachable ?? 'so far')
  for (const { action, died } of await turn.deadReplies()) turn.reply(\`\${typeof action === 'string' ? action : action.text} \${died.getTime()}\`)
  const member = await turn.ask<{ status: string }>('getChatMember', { user_id: 7 })
  const bytes: Buffer = await turn.download(turn.photos[0]!, { limit: 9 })
  const size: number = await turn.download(turn.files[0]!, { path: '/tmp/x' })
  turn.reply(escapeMarkup(\`\${member.status} \${bytes.length} \${size} \${turn.sender?.name} \${turn.chat?.type}\`))
  turn.reply({ text: 'x', buttons: [{ label: 'l', data: 'd' }] })
  turn.execute('INSERT INTO a VALUES (?1, ?2)', [7n, new Uint8Array(1)])
  const rows = await turn.query<{ hour: string }>('SELECT hour FROM a')
  const hours: string[] = rows.map((row) => row.hour)
  const button: string | undefined = turn.button
  const aborted: boolean = turn.signal.aborted
  log.warn('%d left', hours.length, button, aborted)
  if (turn.command === 'later') throw new Retry(30, 'busy', { cause: new Error() })
  if (turn.update.kind === 'edited') throw new GiveUp('no')
  // @ts-expect-error
  turn.reply(7)
  // @ts-expect-error
  turn.reply('x', { phto: 'y' })
  // @ts-expect-error
  turn.reply(new Reply('x'), { silent: true })
  // @ts-expect-error
  turn.reply('x', { buttons: [{ label: 'a' }] })
  // @ts-expect-error
  turn.edit(7, 'x')
  // @ts-expect-error
  turn.state.cuont = 1
  // @ts-expect-error
  turn.execute('x', [new Date()])
}
run(answer, { concurrency: 32, raw: true, hears: ['message', 'edited'], dialogBy: 'chat', overlap: 'burst 1500ms', every: { digest: ['0 9 * * MON', 'UTC'] }, givenUp: (turn, error) => turn.reply(error.trim()), name: 'bot' })
// @ts-expect-error
run(answer, { overlap: 'bursts' })
run(async (turn) => { turn.overlap('burst 10m'); turn.overlap(null); await turn.newer(); if (await turn.hasNewer()) return }, { overlap: { telegram: 'interrupt', '*': 'each' } })
// @ts-expect-error
run(answer, { hears: ['edits'] })
run((turn) => { turn.state.anything = turn.userId })
// @ts-expect-error
run(answer, { concurency: 32 })
async function test() {
  const bot = new Conversation(answer, { migrations: ['CREATE TABLE a (hour)'], ask: (method) => ({ method }), downloads: { p: Buffer.from('x') } })
  await bot.sends('ann', { files: [{ type: 'photo', id: 'p' }], sender: { name: 'Ann' } })
  const answers: Answer[] = await bot.says('ann', 'hi')
  const count: number | undefined = bot.state('ann')?.count
  const program = await Program.start('bot.mjs', { arguments: ['--workers', '2'] })
  await program.presses('ann', 'd')
  await program.stop()
  return [answers, count]
}
test()
`
const IMPORTS = `import { run, Reply, Retry, GiveUp, escapeMarkup, log, type Turn } from 'turnkey'
import { Conversation, Program, type Answer } from 'turnkey/testing'`
const REQUIRES = `import turnkey = require('turnkey')
import { Conversation, Program, type Answer } from 'turnkey/testing'
import type { Turn } from 'turnkey'
const { run, Reply, Retry, GiveUp, escapeMarkup, log } = turnkey`

/** The compiler's file, or why there is none. */
function compiler() {
  const home = process.env.TYPESCRIPT ?? path.join(os.tmpdir(), `turnkey-typescript-${VERSION}`, 'node_modules/typescript')
  const file = path.join(home, 'lib/tsc.js')
  if (!fs.existsSync(file) && !process.env.TYPESCRIPT) {
    const prefix = path.resolve(home, '../..')
    spawnSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefix', prefix, `typescript@${VERSION}`, '@types/node@20'], { timeout: 60_000 })
  }
  return fs.existsSync(file) ? file : undefined
}

describe('the types', () => {
  let tsc
  before(() => { tsc = compiler() })

  for (const [name, source, module, resolution] of [
    ['bot.mts', SAMPLE(IMPORTS), 'node16', 'node16'],
    ['bot.cts', SAMPLE(IMPORTS), 'node16', 'node16'],
    ['bot.cts', SAMPLE(REQUIRES), 'node16', 'node16'],
    ['bot.ts', SAMPLE(IMPORTS), 'nodenext', 'nodenext'],
    ['bot.ts', SAMPLE(IMPORTS), 'esnext', 'bundler'],
  ]) {
    // Our own .d.ts are looked at once, with the first.
    test(`fit ${name} with ${module} and ${resolution}${source.includes('= require') ? ', by require' : ''}`, (t) => {
      if (!tsc) return t.skip('NO TYPESCRIPT: it is not in the temporary directory and npm could not fetch it')
      const made = directory(t, { [name]: source })
      const types = path.resolve(tsc, '../../../@types')
      const { status, stdout } = spawnSync(process.execPath, [tsc, '--strict', '--noEmit', '--target', 'es2022', '--module', module,
        '--moduleResolution', resolution, '--lib', 'es2022', '--skipLibCheck', String(name !== 'bot.mts'), '--types', 'node', '--typeRoots', types, name], { cwd: made, encoding: 'utf8' })
      assert.equal(status, 0, stdout)
    })
  }
})
