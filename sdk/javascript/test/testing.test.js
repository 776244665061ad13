// `turnkey/testing`: a conversation is as it would be with Turnkey, and Program talks to a
// program (here one of the tests' own, which answers as the real one does).
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { describe, test } = require('node:test')
const { GiveUp, Reply } = require('../src/index.js')
const { Conversation, Program } = require('../src/testing.js')
const { directory } = require('./support/worker.js')

const PHOTO = { type: 'photo', id: 'p' }
const counter = (turn) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  turn.reply(`${turn.state.count}: ${turn.text}`)
}

let sqlite
try {
  sqlite = require('node:sqlite')
} catch {}

describe('a conversation', () => {
  test('goes on from turn to turn', async () => {
    const bot = new Conversation(counter)
    assert.equal(bot.state('ann'), undefined)
    assert.deepEqual(await bot.says('ann', 'hi'), ['1: hi'])
    assert.deepEqual(await bot.says('ann', 'ho'), ['2: ho'])
    assert.deepEqual(await bot.says('bob', 'hi'), ['1: hi'])
    assert.deepEqual(bot.state('ann'), { count: 2 })
  })

  test('has everything that a turn has', async () => {
    const bot = new Conversation((turn) => {
      turn.state.seen = [turn.text, turn.command ?? null, turn.argument, turn.button ?? null, turn.files, turn.rpc ?? null,
        turn.update.kind, turn.attempt, turn.channel, turn.userId, typeof turn.update.id, turn.update.raw?.toString() ?? null]
      turn.reply(new Reply('c', { photo: 'https://x' }).button('l', 'd'))
      turn.reply({ text: 'only text' })
    }, { channel: 'telegram' })
    const seen = async (turn) => { await turn; return bot.state('ann').seen }
    assert.deepEqual(await bot.says('ann', '/start@my_bot  ref_42 now'),
      [{ text: 'c', files: [{ type: 'photo', url: 'https://x' }], buttons: [{ label: 'l', data: 'd' }] }, 'only text'])
    assert.deepEqual(bot.state('ann').seen,
      ['/start@my_bot  ref_42 now', 'start', 'ref_42 now', null, [], null, 'message', 1, 'telegram', 'ann', 'string', null])
    assert.deepEqual((await seen(bot.presses('ann', '/start'))).slice(0, 7), ['/start', null, '', '/start', [], null, 'button'])
    const sent = { text: 'x', files: [PHOTO], raw: Buffer.from('raw'), attempt: 3 }
    assert.deepEqual((await seen(bot.sends('ann', sent))).slice(4), [[PHOTO], null, 'message', 3, 'telegram', 'ann', 'string', 'raw'])
    const rpc = { method: 'm', params: { a: 1 } }
    assert.deepEqual((await seen(bot.sends('ann', { rpc }))).slice(5, 7), [rpc, 'rpc'])
  })

  test('has all that can come in', async () => {
    const parts = {
      kind: 'reaction', event: 'message_reaction', markup: '**b**', files: [PHOTO, { type: 'voice', url: 'u', mediaType: 'm', size: 7 }],
      location: { latitude: 1.5, longitude: 2 }, contact: { phone: '+43', name: 'Ann', userId: '7' }, sender: { name: 'Ann', language: 'de' },
      chat: { id: '-1', type: 'group', title: 'Tea' }, quoted: { message: '3', text: 'what?' }, forwarded: { name: 'News' },
      message: '55', album: '12',
    }
    const seen = {}
    const bot = new Conversation((turn) => { for (const name of Object.keys(parts)) seen[name] = turn[name] })
    await bot.sends('ann', parts)
    assert.deepEqual(seen, parts)
    await assert.rejects(bot.sends('ann', { pictures: [] }), /^TypeError: sends: an update has no pictures$/)
  })

  test('has others come back', async () => {
    const bot = new Conversation((turn) => {
      const { called } = turn
      if (called?.by) turn.reply(`${called.name}: ${called.button} of ${called.by.dialog}`)
      else if (called) turn.reply(`${called.name} ${JSON.stringify(called.body)}`)
      else if (turn.text === 'pay') turn.reply(turn.callback('paid'))
      else turn.askIn('http', 'owner', 'Let in?', 'in', { buttons: [[{ label: 'Yes', data: '1' }, { label: 'No', data: '0' }]] })
    })
    const [address] = await bot.says('ann', 'pay')
    assert.deepEqual(await bot.posts(address, { sum: 7 }), ['paid {"sum":7}'])
    await assert.rejects(bot.posts(address), /no callback is open/)
    const [asked] = await bot.says('ann', 'in')
    assert.deepEqual(asked.askIn, { channel: 'http', user: 'owner', name: 'in' })
    await assert.rejects(bot.answers('owner', '2'), /owner was asked nothing/)
    assert.deepEqual(await bot.answers('owner', '0'), ['in: 0 of owner'])
    await assert.rejects(bot.answers('owner', '0'), /owner was asked nothing/)
  })

  test('has timers fire', async () => {
    const bot = new Conversation((turn) => {
      if (turn.timer) turn.reply(`${turn.timer.name} ${turn.timer.data}`)
      else if (turn.text === 'no') turn.cancel('tea')
      else turn.after('4m', 'tea', turn.text)
    })
    await bot.says('ann', 'green')
    await bot.says('ann', 'black')
    assert.deepEqual([bot.timers('ann'), bot.timers('bob')], [['tea'], []])
    assert.deepEqual(await bot.fires('ann', 'tea'), ['tea black'])
    await assert.rejects(bot.fires('ann', 'tea'), /^Error: fires: ann has no timer 'tea'; there are \[\]$/)
    await bot.says('ann', 'green')
    await bot.says('ann', 'no')
    assert.deepEqual(bot.timers('ann'), [])
  })

  test('keeps a timer whose turn fails', async () => {
    const failures = [new Error('no')]
    const bot = new Conversation((turn) => {
      if (!turn.timer) turn.after('4m', 'tea', 'green')
      else if (failures.length) throw failures.pop()
      else turn.reply(`${turn.timer.name} ${turn.timer.data}`)
    })
    await bot.says('ann', 'hi')
    await assert.rejects(bot.fires('ann', 'tea'), /^Error: no$/)
    assert.deepEqual(bot.timers('ann'), ['tea'])
    assert.deepEqual(await bot.fires('ann', 'tea'), ['tea green'])
    assert.deepEqual(bot.timers('ann'), [])
  })

  test('has the steps of a turn', async () => {
    let paid = 0
    const bot = new Conversation(async (turn) => {
      const receipt = await turn.step('charge', async () => ({ n: (paid += 1), nothing: undefined }))
      if (turn.attempt === 1) throw new Error('no')
      turn.reply(`paid ${receipt.n}`)
    })
    await assert.rejects(bot.says('ann', 'buy'), /^Error: no$/)
    assert.deepEqual(bot.steps, { charge: { n: 1 } })
    assert.deepEqual(await bot.sends('ann', { text: 'buy', attempt: 2, steps: bot.steps }), ['paid 1'])
    assert.deepEqual(await bot.sends('bob', { text: 'buy', attempt: 2 }), ['paid 2'])
  })

  test('what is given up', async () => {
    const sorry = async (turn, error) => turn.reply(`sorry: ${error}`)
    const bot = new Conversation((turn) => turn.reply(String(turn.isLastAttempt)), { givenUp: sorry })
    assert.deepEqual(await bot.says('ann', 'hi'), ['false'])
    assert.deepEqual(await bot.sends('ann', { text: 'hi', lastAttempt: true }), ['true'])
    assert.deepEqual(await bot.sends('ann', { text: 'hi', givenUp: 'away' }), ['sorry: away'])
    assert.throws(() => new Conversation(sorry, { givenUp: 'sorry' }), /givenUp: a function is wanted/)
  })

  test('keeps what a dialog says of quick messages', async () => {
    const bot = new Conversation((turn) => turn.overlap(turn.text === 'none' ? null : turn.text))
    await bot.says('ann', 'burst 2m')
    assert.deepEqual([bot.overlap('ann'), bot.overlap('bob')], ['burst 2m', null])
    await bot.says('ann', 'none')
    assert.equal(bot.overlap('ann'), null)
  })

  test('has something newer come', async () => {
    const bot = new Conversation(async (turn) => {
      const said = turn.text === 'slow' ? await Promise.race([turn.newer().then(() => 'newer'), new Promise(() => {})]) : turn.text
      turn.reply(`${said} ${await turn.hasNewer()}`)
    })
    assert.deepEqual(await bot.says('ann', 'quick'), ['quick false'])
    assert.deepEqual(await bot.sends('ann', { text: 'slow', newer: true }), ['newer true'])
    const slow = bot.says('ann', 'slow')
    await bot.says('bob', 'other')
    const next = bot.says('ann', 'next')
    assert.deepEqual(await Promise.all([slow, next]), [['newer true'], ['next false']])
  })

  test('has schedules tick', async () => {
    const bot = new Conversation((turn) => {
      if (turn.channel === 'cron') {
        turn.state.weeks = (turn.state.weeks ?? 0) + 1
        turn.sendTo('vk', '8', `week ${turn.state.weeks}, ${turn.timer.late} ms late`)
        if (turn.timer.late > 1000) turn.reply('nobody')
      } else if (turn.timer) turn.reply(`your ${turn.timer.name}`)
      else turn.every('0 9 * * MON', 'Europe/Vienna', 'digest')
    })
    await bot.says('digest', 'hi')
    assert.deepEqual(await bot.fires('digest', 'digest'), ['your digest'])
    assert.deepEqual(await bot.fires('digest', 'digest'), ['your digest'])
    await bot.ticks('digest')
    const [said] = await bot.ticks('digest', { late: 300 })
    assert.equal(said.text, 'week 2, 300 ms late')
    await assert.rejects(bot.ticks('digest', { late: 2000 }), /has nobody to reply to; say it to a dialog with turn.sendTo/)
    assert.deepEqual([bot.state('digest', { channel: 'cron' }), bot.state('digest')], [{ weeks: 2 }, {}])
  })

  test('gives what is said as it was written', async () => {
    const bytes = Buffer.from([0, 255])
    const bot = new Conversation((turn) => {
      turn.reply('a', { buttons: [[{ label: 'x', data: '1' }, { label: 'y', webApp: 'https://y' }]], name: 'menu', noPreview: true })
      turn.reply({ document: { data: bytes, name: 'n', mediaType: 'm' }, contact: { phone: '+43', name: 'Ann', userId: '7' } })
      turn.reply('k', { keyboard: ['a', ['b', { label: 'c', request: 'contact' }]], once: true, quote: true })
      turn.reply('r', { removeKeyboard: true })
      turn.edit('menu', 'b')
      turn.editPressed('c', { silent: true })
      turn.delete({ message: '7' })
      turn.toast('d', { alert: true })
      turn.call('sendDice', { user_id: 1 }, { name: 'dice' })
      turn.sendTo('vk', '8', 'e')
    })
    assert.deepEqual(await bot.says('ann', 'hi'), [
      { text: 'a', buttons: [[{ label: 'x', data: '1' }, { label: 'y', webApp: 'https://y' }]], name: 'menu', noPreview: true },
      { files: [{ type: 'document', data: bytes, name: 'n', mediaType: 'm' }], contact: { phone: '+43', name: 'Ann', userId: '7' } },
      { text: 'k', keyboard: [[{ label: 'a' }], [{ label: 'b' }, { label: 'c', request: 'contact' }]], once: true, quote: true },
      { text: 'r', removeKeyboard: true },
      { edit: 'menu', text: 'b' },
      { edit: true, text: 'c', silent: true },
      { delete: { message: '7' } },
      { toast: 'd', alert: true },
      { call: 'sendDice', params: { user_id: 1 }, name: 'dice' },
      { sendTo: { channel: 'vk', user: '8' }, text: 'e' },
    ])
  })

  test('has drafts and dead replies', async () => {
    const bot = new Conversation(async (turn) => {
      turn.draft('so')
      turn.draft('so far')
      turn.reply(JSON.stringify(await turn.deadReplies()))
    })
    assert.deepEqual(await bot.says('ann', 'hi'), ['[]'])
    assert.deepEqual(bot.drafts, ['so', 'so far'])
    bot.deadReplies.push({ action: { edit: 'menu', text: 'x' }, error: 'blocked', died: new Date(0) })
    assert.deepEqual(JSON.parse((await bot.says('ann', 'hi'))[0]),
      [{ action: { edit: 'menu', text: 'x' }, error: 'blocked', died: '1970-01-01T00:00:00.000Z' }])
  })

  test('has the platform that the test brings', async () => {
    const ask = (method, params) => {
      if (method === 'fail') throw new Error('refused')
      return { method, params }
    }
    const handle = async (turn) => {
      const [file] = turn.files
      turn.reply(file ? (await turn.download(file, { limit: 3 })).toString() : JSON.stringify(await turn.ask(turn.text, { n: 1 })))
    }
    const bot = new Conversation(handle, { ask, downloads: { p: Buffer.from('tea'), u: Buffer.from('coffee') } })
    assert.deepEqual(await bot.says('ann', 'x'), ['{"method":"x","params":{"n":1}}'])
    assert.deepEqual(await bot.sends('ann', { files: [PHOTO] }), ['tea'])
    await assert.rejects(bot.says('ann', 'fail'), /^PlatformError: refused$/)
    await assert.rejects(bot.sends('ann', { files: [{ type: 'voice', url: 'u' }] }), /^PlatformError: the file has more than 3 bytes$/)
    await assert.rejects(bot.sends('ann', { files: [{ type: 'voice', url: 'other' }] }), /^PlatformError: the file is not there: /)
    await assert.rejects(new Conversation(handle).says('ann', 'x'), /^PlatformError: there is no platform in a Conversation/)
  })

  test('finds commands as the program does', async () => {
    const bot = new Conversation((turn) => turn.reply(`${turn.command ?? '-'}|${turn.argument}`))
    for (const [text, expected] of [
      ['/start', 'start|'], ['/start ref_42', 'start|ref_42'], ['/start@my_bot', 'start|'], ['/start@my_bot  ref_42 now', 'start|ref_42 now'],
      ['/start\nref', 'start|ref'], [' /start ', 'start|'], ['/помощь', 'помощь|'], ['/started', 'started|'], ['start', '-|'],
      ['', '-|'], ['/', '-|'], ['/ start', '-|'], ['/@bot', '-|'], ['/etc/passwd', '-|'], ['say /start', '-|'],
    ]) assert.deepEqual(await bot.says('ann', text), [expected], text)
  })

  test('changes nothing when a turn fails, and rejects with what was thrown', async () => {
    const bot = new Conversation(async (turn) => {
      counter(turn)
      if (turn.text === 'no') throw new GiveUp('no')
      if (turn.text === 'date') turn.state.at = new Date()
      if (turn.text === 'seven') turn.reply(7)
    })
    await bot.says('ann', 'hi')
    await assert.rejects(bot.says('ann', 'no'), GiveUp)
    await assert.rejects(bot.says('ann', 'date'), /^TypeError: state\.at is a Date/)
    await assert.rejects(bot.says('ann', 'seven'), /^TypeError: turn\.reply: /)
    assert.deepEqual(bot.state('ann'), { count: 1 })
    assert.deepEqual(await bot.says('ann', 'hi'), ['2: hi'])
  })

  test('has one turn of a user at a time, and others beside it', async () => {
    const order = []
    let go
    const gate = new Promise((resolve) => { go = resolve })
    const bot = new Conversation(async (turn) => {
      order.push(`${turn.userId} ${turn.text} begins`)
      if (turn.text === '1') await gate
      counter(turn)
      order.push(`${turn.userId} ${turn.text} ends`)
    })
    const turns = [bot.says('ann', '1'), bot.says('ann', '2')]
    await bot.says('bob', '3')
    go()
    await Promise.all(turns)
    assert.deepEqual(order, ['ann 1 begins', 'bob 3 begins', 'bob 3 ends', 'ann 1 ends', 'ann 2 begins', 'ann 2 ends'])
    assert.deepEqual(bot.state('ann'), { count: 2 })
  })

  test('asks a database that it is given', async () => {
    const log = []
    const database = {
      query: (sql, params) => { log.push([sql, params]); return [{ n: 2n ** 60n, m: 5n, b: new Uint8Array([1]) }] },
      transaction: async (statements) => { log.push(statements) },
    }
    const bot = new Conversation(async (turn) => {
      const [row] = await turn.query('A ?1', [true])
      turn.execute('B ?1', [row.n])
      turn.execute('C', [row.b])
      turn.reply(`${row.n} ${typeof row.m} ${Buffer.isBuffer(row.b)}`)
    }, { database })
    assert.deepEqual(await bot.says('ann', 'hi'), ['1152921504606846976 number true'])
    assert.deepEqual(log, [['A ?1', [1]], [['B ?1', [2n ** 60n]], ['C', [Buffer.from([1])]]]])
  })

  test('has SQLite where Node.js has it', { skip: !sqlite && 'this Node.js has none' }, async (t) => {
    const made = directory(t, { 'm/0002_b.sql': "INSERT INTO a VALUES ('first');", 'm/0001_a.sql': 'CREATE TABLE a (x PRIMARY KEY)', 'm/notes.txt': '!' })
    const bot = new Conversation(async (turn) => {
      turn.execute('INSERT INTO a VALUES (?1)', [turn.text])
      turn.state.last = turn.text
      if (turn.command === 'write') await turn.query('DELETE FROM a')
      turn.reply((await turn.query('SELECT x FROM a WHERE x <> ?1', ['none'])).map((row) => row.x).join())
    }, { migrations: path.join(made, 'm') })
    assert.deepEqual(await bot.says('ann', 'tea'), ['first'])
    assert.deepEqual(await bot.says('ann', 'cake'), ['first,tea'])
    await assert.rejects(bot.says('ann', 'tea'), /UNIQUE/)
    await assert.rejects(bot.says('ann', '/write'), /QueryError: .*readonly/)
    assert.deepEqual(bot.state('ann'), { last: 'cake' })
  })

  test('says what to do where it has not', { skip: sqlite && 'this Node.js has one' }, async () => {
    const bot = new Conversation((turn) => turn.query('SELECT 1'))
    await assert.rejects(bot.says('ann', 'hi'), /needs Node\.js 22\.13 or newer, which has SQLite, and this is v.*Program/)
  })
})

test('run does nothing where tests import the bot', () => {
  require('../src/index.js').run(() => {})
})

/** A program in JavaScript that looks like the real one from outside. */
const FAKE = `#!${process.execPath}
const http = require('node:http')
const fs = require('node:fs')
const words = process.argv.slice(2)
const file = words[words.indexOf('--storage') + 1].replace('sqlite:', '')
if (words.includes('--fail')) { console.error('no such option'); process.exit(2) }
const server = http.createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  body = JSON.parse(body)
  if (body.text === 'fail') { response.statusCode = 503; return response.end('the handler failed') }
  const count = fs.existsSync(file) ? Number(fs.readFileSync(file)) + 1 : 1
  fs.writeFileSync(file, String(count))
  const text = count + ' ' + JSON.stringify(body) + ' ' + process.env.TOKEN + ' ' + process.env.TURNKEY_TOKEN
  response.end(JSON.stringify({ replies: [{ text }, { text: '', files: [{ type: 'photo', id: 'p' }] }] }))
})
server.listen(0, '127.0.0.1', () => {
  console.error(words.join(' '))
  console.error('Started webhooks updater on http://127.0.0.1:' + server.address().port + ' (1 worker, x). Press Ctrl-C to exit.')
})
process.on('SIGINT', () => process.exit(words.includes('--badly') ? 1 : 0))
`

describe('a program', () => {
  const use = (t, source = FAKE) => {
    const made = directory(t, { turnkey: source })
    fs.chmodSync(path.join(made, 'turnkey'), 0o755)
    process.env.TURNKEY_PROGRAM = path.join(made, 'turnkey')
    process.env.TURNKEY_TOKEN = 'secret'
    t.after(() => { delete process.env.TURNKEY_PROGRAM; delete process.env.TURNKEY_TOKEN })
  }

  test('is started, talked to, started again and stopped', async (t) => {
    use(t)
    const bot = await Program.start('/x/bot.mjs', { arguments: ['--workers', '2'], env: { TOKEN: 't' } })
    assert.match(bot.log, /^run \/x\/bot\.mjs --listen 127\.0\.0\.1:0 --storage sqlite:\/\S*\/bot\.db --workers 2\n/)
    assert.deepEqual(await bot.says('ann', 'hi'), ['1 {"user_id":"ann","text":"hi"} t undefined', { files: [{ type: 'photo', id: 'p' }] }])
    assert.equal((await bot.presses('ann', 'd'))[0], '2 {"user_id":"ann","button":"d"} t undefined')
    await assert.rejects(bot.says('ann', 'fail'), /\/x\/bot\.mjs answered .* with 503: the handler failed; it wrote:\nrun /)
    await bot.restart()
    assert.match((await bot.says('ann', 'hi'))[0], /^3 /)
    await bot.stop()
  })

  test('that does not start or does not end well says why', async (t) => {
    use(t)
    await assert.rejects(Program.start('bot.mjs', { arguments: ['--fail'] }), /bot\.mjs ended at its start \(exit code 2\); it wrote:\nno such option/)
    const bot = await Program.start('bot.mjs', { arguments: ['--badly'] })
    await assert.rejects(bot.stop(), /ended with exit code 1/)
    process.env.TURNKEY_PROGRAM = '/nowhere/turnkey'
    await assert.rejects(Program.start('bot.mjs'), /ended at its start \(spawn \/nowhere\/turnkey ENOENT\)/)
  })
})
