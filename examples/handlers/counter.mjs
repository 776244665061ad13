// A whole bot: it counts each user's messages.
//
// Run it: turnkey run examples/handlers/counter.mjs
import { run } from 'turnkey'

run((turn) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  turn.reply(`${turn.state.count}: ${turn.text}`)
})
