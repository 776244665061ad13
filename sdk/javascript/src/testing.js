// What authors test their bots with: `require('turnkey/testing')`.
//
// Called by tests alone. Conversation plays a handler in this process, Program starts the
// real program with it. Invariants: a conversation goes through the same checks and the
// same JSON as with Turnkey; one user's messages are one turn at a time; a turn that fails
// changes nothing. Bound: PATIENCE for each wait of Program.
'use strict'

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { inspect } = require('node:util')
const { fileURLToPath } = require('node:url')
const { dataOf } = require('./callbacks.js')
const { writePart } = require('./content.js')
const { checkGivenUp, either } = require('./given_up.js')
const { readSaid } = require('./said.js')
const { Turn, endTurn, takeDone } = require('./turn.js')
const { describe, fromColumn, line, toParam, wantText } = require('./values.js')

const PATIENCE = 10_000

/** Where the addresses of callbacks begin. */
const CALLBACKS = 'https://bot.example/callback/'

// `run` does nothing in a process that tests: a bot's file can be imported for its handler.
globalThis[Symbol.for('turnkey.testing')] = true

/** Users who talk to a handler, without a server. */
class Conversation {
  #handle
  #channel
  #database
  #platform
  #downloads
  /** JSON, by user. */
  #states = new Map()
  /** Each user's last turn: the next one waits for it. */
  #lasts = new Map()
  /** What `turn.deadReplies` gives. */
  deadReplies = []
  /** What the last turn showed with `turn.draft`. */
  drafts = []
  /**
   * What the last turn has kept with `turn.step`, by the steps' names. A turn that fails keeps it, too:
   * `sends(user, { attempt: 2, steps: bot.steps })` is the next attempt.
   */
  steps = {}
  #updates = 0
  /** By user, and by name. */
  #timers = new Map()
  /** By user. */
  #overlaps = new Map()
  /** Called when the user sends something while a turn of theirs runs. */
  #newer = new Map()
  /** Whose callback an address is, and its name. */
  #open = new Map()
  /** Who asked, and the question. */
  #questions = []

  /**
   * `migrations`: a directory of .sql files, or an array of statements. `database` answers
   * SQL in place of SQLite: `query(sql, params)` gives rows, `transaction(statements)` runs
   * `[[sql, params], …]`, all or none. `ask(method, params)` answers `turn.ask`, and throws to
   * refuse; `downloads` has the bytes of files by their ids or addresses; `givenUp` is that of `run`.
   */
  constructor(handle, { channel = 'http', migrations = [], database, ask, downloads = {}, givenUp } = {}) {
    if (typeof handle !== 'function') {
      throw new TypeError(`new Conversation: a handler is wanted, not ${describe(handle)}`)
    }
    checkGivenUp(givenUp, 'new Conversation')
    this.#handle = either(handle, givenUp)
    this.#channel = channel
    this.#platform = ask
    this.#downloads = downloads
    this.#database = database ?? new Sqlite(migrations)
  }

  /** The user writes: what they are answered. A reply that is only a text is that text. */
  says(user, text) {
    return this.sends(user, { text: wantText(text, 'says') })
  }

  /** The user presses a button with this data: what they are answered. */
  presses(user, data) {
    return this.sends(user, { kind: 'button', text: wantText(data, 'presses') })
  }

  /**
   * Anything else, by the names that a turn has for it, all of them optional: `{ text, kind,
   * event, markup, files, location, contact, sender, chat, quoted, forwarded, message, dialog, album,
   * rpc, timer, called, raw, attempt, lastAttempt, givenUp, steps, update, channel }`. With `newer: true` the user has sent something else meanwhile:
   * see `turn.newer`, which also resolves when this is called again. Rejects with what the handler threw.
   */
  sends(user, update) {
    const key = this.#key(user, update.channel)
    const run = () => this.#turn(user, key, update)
    this.#newer.get(key)?.()
    const last = this.#lasts.get(key)?.then(run, run) ?? run()
    this.#lasts.set(key, last)
    return last
  }

  #key(user, channel = this.#channel) {
    return channel === this.#channel ? user : `${channel}:${user}`
  }

  /** A schedule that `run` was given as `every` is due, so many milliseconds ago: what is said to others then. */
  ticks(name, { late = 0 } = {}) {
    return this.sends(name, { text: name, channel: 'cron', timer: { name, due: Date.now() - late, late } })
  }

  /** The user's state as the database has it, or with `{ channel: 'cron' }` a schedule's; undefined for a new user. */
  state(user, { channel } = {}) {
    const state = this.#states.get(this.#key(user, channel))
    return state === undefined ? undefined : JSON.parse(state)
  }

  /** The names of the user's timers that wait. */
  timers(user) {
    return [...this.#timers.get(user)?.keys() ?? []].sort()
  }

  /** What the user's turns have said of their quick messages with `turn.overlap`, last; null if nothing holds. */
  overlap(user) {
    return this.#overlaps.get(user) ?? null
  }

  /** The user's timer of this name is due, or their schedule, which stays: what they are told. */
  async fires(user, name) {
    const timers = this.#timers.get(user)
    const timer = timers?.get(name)
    if (timer === undefined) throw new Error(`fires: ${user} has no timer ${inspect(name)}; there are ${inspect(this.timers(user))}`)
    if (timer.cron === undefined) timers.delete(name)
    try {
      return await this.sends(user, { text: name, timer: { data: timer.data } })
    } catch (error) {
      // The program tries such a turn again. Another turn may have set the timer anew meanwhile.
      if (!timers.has(name)) timers.set(name, timer)
      throw error
    }
  }

  /** Somebody posts to an address that `turn.callback` gave: what its user is told then. */
  async posts(address, body = null, { mediaType = 'application/json' } = {}) {
    const open = this.#open.get(address)
    if (open === undefined) throw new Error(`posts: no callback is open at ${inspect(address)}`)
    this.#open.delete(address)
    const posted = body instanceof Uint8Array ? { base64: Buffer.from(body).toString('base64') } : body
    return this.sends(open.user, { text: open.name, called: { body: posted, media_type: mediaType } })
  }

  /** The user presses the button with this data, of a question that they were asked: what the one who asked is told then. */
  async answers(user, data, { sender } = {}) {
    const at = this.#questions.findIndex(({ question }) => question.ask_in.user === user && dataOf(question).includes(data))
    if (at < 0) throw new Error(`answers: ${user} was asked nothing with a button that has ${inspect(data)}`)
    const [{ user: asker, question }] = this.#questions.splice(at, 1)
    const { channel, name } = question.ask_in
    const by = { channel, dialog: user, user, sender: writePart(sender) }
    return this.sends(asker, { text: name, called: { button: data, by } })
  }

  async #turn(user, key, { text = '', kind, rpc, timer, called, raw, attempt = 1, lastAttempt, givenUp, steps, update, newer = false, channel = this.#channel, ...others }) {
    const { event, markup, files, location, contact, sender, chat, quoted, forwarded, message: id, dialog, album, ...unknown } = others
    for (const name of Object.keys(unknown)) throw new TypeError(`sends: an update has no ${name}`)
    this.#updates += 1
    this.drafts = []
    this.steps = { ...steps }
    kind ??= rpc ? 'rpc' : timer ? 'timer' : called ? 'callback' : 'message'
    const message = throughJson({
      channel,
      user,
      update: update ?? `update ${this.#updates}`,
      kind,
      text,
      attempt,
      last_attempt: lastAttempt,
      given_up: givenUp === undefined ? undefined : { error: givenUp },
      steps,
      state: this.state(user, { channel }),
      ...(kind === 'message' ? readCommand(text) : undefined),
      event,
      markup,
      files: files?.map(writePart),
      location: writePart(location),
      contact: writePart(contact),
      sender: writePart(sender),
      chat: writePart(chat),
      quoted: writePart(quoted),
      forwarded: writePart(forwarded),
      message: id,
      dialog,
      album,
      rpc,
      timer: timer && { name: text, due: Date.now(), ...timer },
      called: called && { name: text, at: Date.now(), ...called },
      raw: raw instanceof Uint8Array ? { base64: Buffer.from(raw).toString('base64') } : raw,
    })
    const comes = new Promise((resolve) => {
      this.#newer.set(key, () => {
        newer = true
        resolve(true)
      })
    })
    if (newer) this.#newer.get(key)()
    const ask = (sort, fields) => {
      if (sort === 'newer') return fields.wait === false ? newer : comes
      return this.#answer(sort, fields)
    }
    const turn = new Turn(message, async (sort, fields) => ask(sort, fields), (text) => this.drafts.push(text), CALLBACKS)
    const handle = this.#handle
    let done
    try {
      await handle(turn)
      done = throughJson(takeDone(turn, message))
    } finally {
      this.#newer.delete(key)
      endTurn(turn)
    }
    if (channel === 'cron' && !(done.replies ?? []).every((said) => said.send_to)) {
      throw new Error("the channel 'cron' has nobody to reply to; say it to a dialog with turn.sendTo")
    }
    if (done.sql) {
      await this.#database.transaction(done.sql.map(([sql, params]) => [sql, params.map(fromColumn)]))
    }
    if (done.state !== undefined) this.#states.set(key, JSON.stringify(done.state))
    if (done.overlap !== undefined) this.#overlaps.set(key, done.overlap)
    const timers = this.#timers.get(key) ?? new Map()
    this.#timers.set(key, timers)
    for (const wish of done.timers ?? []) {
      if (wish.cancel) timers.delete(wish.name)
      else timers.set(wish.name, wish)
    }
    for (const { token, name } of done.callbacks ?? []) this.#open.set(CALLBACKS + token, { user, name })
    const replies = done.replies ?? []
    this.#questions.push(...replies.filter((said) => said.ask_in).map((question) => ({ user, question })))
    return replies.map(readSaid)
  }

  /** What a question of the protocol is answered with. */
  async #answer(sort, fields) {
    if (sort === 'query') return this.#query(fields.sql, fields.params)
    if (sort === 'dead_replies') return this.deadReplies
    if (sort === 'download') return this.#download(fields)
    if (sort === 'step') {
      this.steps[fields.name] = throughJson(fields).value
      return {}
    }
    if (this.#platform === undefined) {
      throw new Error('there is no platform in a Conversation: give it one that answers turn.ask, new Conversation(handle, { ask })')
    }
    return throughJson({ result: await this.#platform(fields.method, fields.params) }).result
  }

  #download({ file, limit, path: to }) {
    const bytes = this.#downloads[file.id] ?? this.#downloads[file.url]
    if (bytes === undefined) {
      throw new Error('the file is not there: new Conversation(handle, { downloads }) has the bytes of files by their ids or addresses')
    }
    if (bytes.length > limit) throw new Error(`the file has more than ${limit} bytes`)
    fs.writeFileSync(to, bytes, { flag: 'wx' })
    return bytes.length
  }

  async #query(sql, params) {
    const rows = await this.#database.query(sql, params.map(fromColumn))
    return rows.map((row) => Object.fromEntries(
      Object.entries(row).map(([name, value]) => [name, toParam(value, `column ${name}`)])))
  }
}

/** As it comes out at the other end of the pipe. */
function throughJson(message) {
  return JSON.parse(line(message))
}

/** `command` and `argument` of a text, as the program finds them. */
function readCommand(text) {
  const found = /^\/([\p{L}\p{N}_]+)(?:@\S*)?(?:\s+([^]*))?$/u.exec(text.trim())
  return found ? { command: found[1], argument: found[2] ?? '' } : undefined
}

/** A new SQLite database in memory, made when it is first used. */
class Sqlite {
  #migrations
  #opened

  constructor(migrations) {
    this.#migrations = readMigrations(migrations)
  }

  query(sql, params) {
    const database = this.#open()
    database.exec('PRAGMA query_only = 1')
    try {
      const statement = database.prepare(sql)
      statement.setReadBigInts(true)
      return statement.all(named(params))
    } finally {
      database.exec('PRAGMA query_only = 0')
    }
  }

  transaction(statements) {
    const database = this.#open()
    database.exec('BEGIN')
    try {
      for (const [sql, params] of statements) database.prepare(sql).run(named(params))
      database.exec('COMMIT')
    } catch (error) {
      database.exec('ROLLBACK')
      throw error
    }
  }

  #open() {
    if (this.#opened === undefined) {
      let sqlite
      try {
        sqlite = require('node:sqlite')
      } catch {
        throw new Error(`SQL in a Conversation needs Node.js 22.13 or newer, which has SQLite, and this is ${process.version}: ` +
          'give it a database, new Conversation(handle, { database }), or test with Program')
      }
      this.#opened = new sqlite.DatabaseSync(':memory:')
      for (const sql of this.#migrations) this.#opened.exec(sql)
    }
    return this.#opened
  }
}

/** `?1`, `?2` …: node:sqlite passes over these where parameters come in a row. */
function named(params) {
  return Object.fromEntries(params.map((value, i) => [`?${i + 1}`, value]))
}

function readMigrations(migrations) {
  if (Array.isArray(migrations)) return migrations
  const directory = migrations instanceof URL ? fileURLToPath(migrations) : wantText(migrations, 'migrations')
  const files = fs.readdirSync(directory).filter((name) => name.endsWith('.sql')).sort()
  return files.map((name) => fs.readFileSync(path.join(directory, name), 'utf8'))
}

/**
 * A bot in the real program, on a free port, with a new database in a temporary directory.
 * The program is the file that TURNKEY_PROGRAM names, else `turnkey` on the PATH.
 */
class Program {
  #bot
  #arguments
  #env
  #directory
  #child
  #exit
  #log = ''
  #port

  /** Starts it: `bot` is a path or a URL, `arguments` are further ones of `turnkey run`. */
  static async start(bot, { arguments: further = [], env = {} } = {}) {
    const program = new Program()
    program.#bot = bot instanceof URL ? fileURLToPath(bot) : wantText(bot, 'Program.start')
    program.#arguments = further
    program.#env = env
    program.#directory = fs.mkdtempSync(path.join(os.tmpdir(), 'turnkey-'))
    try {
      await program.#launch()
    } catch (error) {
      program.#kill()
      throw error
    }
    return program
  }

  /** The port of its `POST /http` on 127.0.0.1. */
  get port() {
    return this.#port
  }

  /** What it has written so far: its log. */
  get log() {
    return this.#log
  }

  /** A user writes: what they are answered. A reply that is only a text is that text. */
  says(user, text) {
    return this.sends(user, { text })
  }

  /** A user presses a button with this data: what they are answered. */
  presses(user, data) {
    return this.sends(user, { button: data })
  }

  /** Anything else that `POST /http` takes: `{ text, button, id, photo, files, location, contact }`. */
  async sends(user, message) {
    const { files, location, contact, ...others } = message
    const parts = { files: files?.map(writePart), location: writePart(location), contact: writePart(contact) }
    const body = JSON.stringify({ user_id: user, ...others, ...parts })
    let answer, text
    try {
      answer = await fetch(`http://127.0.0.1:${this.#port}/http`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        signal: AbortSignal.timeout(PATIENCE),
      })
      text = await answer.text()
    } catch (error) {
      throw this.#failed(`did not answer ${body} (${error.cause?.message ?? error.message})`)
    }
    if (answer.status !== 200) throw this.#failed(`answered ${body} with ${answer.status}: ${text}`)
    const { replies } = JSON.parse(text)
    return replies.map(readSaid)
  }

  /** Presses Ctrl-C and waits: it must end well, with nothing cut off. */
  async stop() {
    try {
      await this.#interrupt()
    } finally {
      this.#kill()
    }
  }

  /** Stops it and starts it again on the same database. */
  async restart() {
    try {
      await this.#interrupt()
      await this.#launch()
    } catch (error) {
      this.#kill()
      throw error
    }
  }

  async #launch() {
    const program = process.env.TURNKEY_PROGRAM || 'turnkey'
    // A token that is set where the tests run does not reach it, nor what runs the tests.
    const inherited = Object.entries(process.env).filter(([name]) => !/^(TURNKEY_|NODE_TEST_CONTEXT$|NODE_OPTIONS$)/.test(name))
    const storage = `sqlite:${path.join(this.#directory, 'bot.db')}`
    const words = ['run', this.#bot, '--listen', '127.0.0.1:0', '--storage', storage, ...this.#arguments]
    this.#log = ''
    this.#child = spawn(program, words, {
      env: { ...Object.fromEntries(inherited), ...this.#env },
      stdio: ['ignore', 'ignore', 'pipe'],
      // So that the whole family can be killed, and a Ctrl-C is the tests' own.
      detached: true,
    })
    process.on('exit', this.#kill)
    this.#exit = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
      this.#child.on('error', (error) => resolve(error.message))
    })
    const started = new Promise((resolve) => {
      this.#child.stderr?.on('data', (chunk) => {
        this.#log += chunk
        const found = /^Started .*?:\/\/\S*?:(\d+)[ /]/m.exec(this.#log)
        if (found) resolve(Number(found[1]))
      })
    })
    const first = await within(Promise.race([started, this.#exit]))
    if (first === LATE) throw this.#failed(`did not start within ${PATIENCE} ms`)
    if (typeof first === 'string') throw this.#failed(`ended at its start (${first})`)
    this.#port = first
  }

  async #interrupt() {
    this.#signal('SIGINT')
    const end = await within(this.#exit)
    if (end === LATE) throw this.#failed(`did not stop within ${PATIENCE} ms`)
    if (end !== 'exit code 0') throw this.#failed(`ended with ${end}`)
    process.off('exit', this.#kill)
  }

  #signal(signal) {
    // Nobody is left after a stop: then there is no such group.
    try {
      if (this.#child?.pid) process.kill(-this.#child.pid, signal)
    } catch {}
  }

  #kill = () => {
    this.#signal('SIGKILL')
    process.off('exit', this.#kill)
    fs.rmSync(this.#directory, { recursive: true, force: true })
  }

  #failed(how) {
    return new Error(`${this.#bot} ${how}; it wrote:\n${this.#log}`)
  }
}

const LATE = Symbol('late')

/** What a promise gives, or LATE. */
async function within(promise) {
  let timer
  const late = new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE, LATE) })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

module.exports = { Conversation, Program }
