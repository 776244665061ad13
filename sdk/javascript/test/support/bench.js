// Measures what the SDK costs: turns a second and the handler's processor time.
//
// Run by hand: node test/support/bench.js [turns] [in hand] [async]. One process, nothing
// but the pipes before it; what is read is counted, not parsed.
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { SDK, Worker } = require('./worker.js')

const [turns = 200_000, inHand = 128, kind = 'plain'] = process.argv.slice(2)
const afters = []
const t = { after: (clean) => afters.push(clean) }

async function main() {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'turnkey-bench-'))
  t.after(() => fs.rmSync(made, { recursive: true }))
  const bot = path.join(made, 'bot.mjs')
  fs.writeFileSync(bot, `import turnkey from '${SDK}/src/index.js'
    turnkey.run(${kind === 'async' ? 'async' : ''} (turn) => {
      turn.state.count = (turn.state.count ?? 0) + 1
      turn.reply(turn.state.count + ': ' + turn.text)
    })`)
  const worker = new Worker(t, bot)
  await worker.greet()
  const message = (id) => JSON.stringify({ id, turn: { channel: 'telegram', user: String(id % 10_000), update: String(9_000_000 + id), kind: 'message', text: 'hello', attempt: 1, state: { count: id } } }) + '\n'
  worker.output.removeAllListeners('data')
  let [sent, answered] = [0, 0]
  const more = () => {
    let text = ''
    while (sent < Number(turns) && sent - answered < Number(inHand)) text += message((sent += 1))
    if (text) worker.write(text)
  }
  const before = cpu(worker.child.pid)
  const start = process.hrtime.bigint()
  const done = new Promise((resolve) => {
    worker.output.on('data', (chunk) => {
      for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) answered += 1
      if (answered === Number(turns)) resolve()
      more()
    })
  })
  more()
  await done
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  const used = cpu(worker.child.pid) - before
  console.log(`${process.version} ${kind}, ${inHand} in hand: ${Math.round(turns / seconds)} turns/s, ${(used / turns * 1e6).toFixed(1)} us of processor time a turn`)
  await worker.end()
}

/** Seconds of user and system time of a process (Linux). */
function cpu(pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

main().finally(() => afters.forEach((clean) => clean()))
