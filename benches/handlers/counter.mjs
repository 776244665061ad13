import { run } from 'turnkey'

run(async (turn) => {
  turn.state.count = (turn.state.count ?? 0) + 1
  turn.reply(`${turn.state.count}: ${turn.text}`)
})
