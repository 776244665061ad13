// A worker of Turnkey as far as a handler sees it: two pipes and the protocol.
//
// Used by the tests and by bench.js. The pipes are named ones in a temporary directory, so
// that they are pipes (child_process makes sockets) and their inode numbers are known.
// Bounds: DEADLINE for each wait; the process is killed when its test ends.
'use strict'

const { spawn } = require('node:child_process')
const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')

const DEADLINE = 20_000
const SDK = path.resolve(__dirname, '../..')

/** What runs bots: TURNKEY_TEST_RUNTIME="bun --no-install" or "deno run -A", for trying these out. */
const RUNTIME = process.env.TURNKEY_TEST_RUNTIME?.split(' ') ?? [process.execPath]

/** Resolves as `promise` does, or fails with what was waited for. */
function soon(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${DEADLINE} ms: ${what()}`)), DEADLINE)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** A temporary directory with these files; `node_modules/turnkey` is a copy of this SDK. */
function directory(t, files, { installed = true } = {}) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'turnkey-sdk-'))
  t.after(() => fs.rmSync(made, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(made, name)), { recursive: true })
    fs.writeFileSync(path.join(made, name), text)
  }
  if (installed) {
    fs.mkdirSync(path.join(made, 'node_modules'), { recursive: true })
    const turnkey = path.join(made, 'node_modules/turnkey')
    fs.mkdirSync(turnkey)
    fs.copyFileSync(path.join(SDK, 'package.json'), path.join(turnkey, 'package.json'))
    for (const name of fs.readdirSync(SDK)) {
      if (name === 'src' || name.includes('.d.')) fs.cpSync(path.join(SDK, name), path.join(turnkey, name), { recursive: true })
    }
  }
  return made
}

class Worker {
  /**
   * Starts `bot` (a path) as a worker would. `command` is what runs it, `nonblocking` gives
   * it a descriptor 4 that does not block, `pipes` a wrong TURNKEY_PIPES.
   */
  constructor(t, bot, { command = RUNTIME, env = {}, nonblocking = false, pipes } = {}) {
    const made = fs.mkdtempSync(path.join(os.tmpdir(), 'turnkey-pipes-'))
    const [to, from] = [path.join(made, 'to'), path.join(made, 'from')]
    execFileSync('mkfifo', [to, from])
    const { O_RDONLY, O_WRONLY, O_NONBLOCK } = fs.constants
    const read3 = fs.openSync(to, O_RDONLY | O_NONBLOCK)
    const write3 = fs.openSync(to, O_WRONLY | O_NONBLOCK)
    const read4 = fs.openSync(from, O_RDONLY | O_NONBLOCK)
    const write4 = fs.openSync(from, O_WRONLY | (nonblocking ? O_NONBLOCK : 0))
    const inodes = `${fs.fstatSync(read3).ino}:${fs.fstatSync(write4).ino}`
    const { NODE_TEST_CONTEXT, NODE_OPTIONS, ...inherited } = process.env
    this.child = spawn(command[0], [...command.slice(1), bot], {
      cwd: path.dirname(bot),
      detached: true,
      env: { ...inherited, TURNKEY_PROTOCOL: '1', TURNKEY_PIPES: pipes ?? inodes, ...env },
      stdio: ['ignore', 'pipe', 'pipe', read3, write4],
    })
    fs.closeSync(read3)
    fs.closeSync(write4)
    this.input = new net.Socket({ fd: write3, readable: false, writable: true })
    this.output = new net.Socket({ fd: read4, readable: true, writable: false })
    this.input.on('error', () => {})
    this.stdout = ''
    this.stderr = ''
    this.child.stdout.on('data', (chunk) => { this.stdout += chunk.toString('latin1'); this.#wake() })
    this.child.stderr.on('data', (chunk) => { this.stderr += chunk; this.#wake() })
    this.exit = new Promise((resolve) => {
      this.child.on('close', (code, signal) => { resolve({ code, signal }); this.over = true; this.#wake() })
    })
    this.lines = []
    this.wakers = []
    this.ids = 0
    this.#collect()
    t.after(() => {
      try { process.kill(-this.child.pid, 'SIGKILL') } catch {}
      this.input.destroy()
      this.output.destroy()
      fs.rmSync(made, { recursive: true, force: true })
    })
  }

  #collect() {
    let rest = []
    this.output.on('data', (chunk) => {
      let start = 0
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
        rest.push(chunk.subarray(start, end))
        // As strict as the program: UTF-8, and one JSON object.
        const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(rest))
        rest = []
        start = end + 1
        this.lines.push({ text, ...JSON.parse(text) })
      }
      rest.push(chunk.subarray(start))
      this.#wake()
    })
  }

  #wake() {
    for (const wake of this.wakers.splice(0)) wake()
  }

  /** Waits until `found` gives something. */
  async until(found, what) {
    const look = async () => {
      for (;;) {
        const it = found()
        if (it) return it
        if (this.over) throw new Error(`it ended before ${what}: ${this.stderr}`)
        await new Promise((resolve) => this.wakers.push(resolve))
      }
    }
    return soon(look(), () => `${what}; its stderr: ${this.stderr}`)
  }

  /** The first line that fits, taken out of the list. */
  async line(fits = () => true, what = 'a line') {
    const index = await this.until(() => this.lines.findIndex(fits) + 1, what)
    return this.lines.splice(index - 1, 1)[0]
  }

  write(bytes) {
    this.input.write(bytes)
  }

  send(message) {
    this.write(JSON.stringify(message) + '\n')
  }

  async greet() {
    this.send({ hello: { protocol: 1, program: 'turnkey 0.1.0', worker: 0, callbacks: 'https://bot.example/callback/' } })
    return (await this.line((line) => line.hello, 'hello')).hello
  }

  /** Sends a turn, and does not wait: its id. */
  begin(turn = {}) {
    const id = (this.ids += 1)
    this.send({ id, turn: { channel: 'http', user: 'ann', update: `u${id}`, kind: 'message', text: 'hi', attempt: 1, ...turn } })
    return id
  }

  answer(id) {
    return this.line((line) => line.id === id && (line.done || line.fail), `the answer to turn ${id}`)
  }

  /** Plays a turn: `done` or `fail` of the answer. */
  async turn(turn) {
    const { done, fail } = await this.answer(this.begin(turn))
    return done ?? { fail }
  }

  /** Closes descriptor 3 and waits for the exit. */
  async end() {
    this.input.end()
    return this.ended()
  }

  ended() {
    return soon(this.exit, () => `the end of the process; its stderr: ${this.stderr}`)
  }
}

/** A bot of this source, started and greeted. */
async function start(t, source, { name = 'bot.mjs', files = {}, installed, ...options } = {}) {
  const made = directory(t, { [name]: source, ...files }, { installed })
  const worker = new Worker(t, path.join(made, name), options)
  worker.directory = made
  worker.hello = await worker.greet()
  return worker
}

module.exports = { SDK, Worker, directory, soon, start }
