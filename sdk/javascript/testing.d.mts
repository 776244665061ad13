// The types of `turnkey/testing` for ES modules.
export * from './testing.js'
