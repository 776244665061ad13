// What `import 'turnkey/testing'` gives: the same objects as `require('turnkey/testing')`.
import testing from './testing.js'

export const { Conversation, Program } = testing
