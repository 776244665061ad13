// The types of `turnkey` for ES modules.
export * from './index.js'
