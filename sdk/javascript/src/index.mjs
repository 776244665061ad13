// What `import 'turnkey'` gives: the same objects as `require('turnkey')`.
import turnkey from './index.js'

export const { GiveUp, Reply, Retry, escapeMarkup, log, run } = turnkey
