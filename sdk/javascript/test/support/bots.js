// Bots of a few lines, for the tests of the protocol.
'use strict'

const IMPORT = "import { run, Reply, Retry, GiveUp, log } from 'turnkey';"
const COUNTER = `${IMPORT}
run((turn) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  turn.reply(turn.state.count + ': ' + turn.text)
})`
/** A bot whose handler does what the message says. */
const bot = (cases, options = '{}') => `${IMPORT}
const cases = {${cases}}
run((turn) => cases[turn.command ?? turn.text](turn), ${options})`

module.exports = { IMPORT, COUNTER, bot }
