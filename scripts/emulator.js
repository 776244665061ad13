// Runs the package telegram-test-api on a free port of 127.0.0.1 and prints its URL.
// Started by scripts/emulator, which installs it.
//
// Two things that Telegram does with webhooks and the package leaves out are added
// here: the secret token is sent, and a call in the answer is done.

'use strict';
const net = require('net');
const TelegramServer = require('telegram-test-api');
const axios = require('axios');

const freePort = () => new Promise((resolve, reject) => {
  const probe = net.createServer().once('error', reject);
  probe.listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

async function main() {
  const port = await freePort();
  const server = new TelegramServer({ port, host: '127.0.0.1', storeTimeout: 3600 });

  const webhookOf = (url) => Object.entries(server.webhooks).find(([, hook]) => hook.url === url);
  axios.interceptors.request.use((request) => {
    const found = webhookOf(request.url);
    if (found && found[1].secret_token) {
      request.headers['X-Telegram-Bot-Api-Secret-Token'] = found[1].secret_token;
    }
    return request;
  });
  axios.interceptors.response.use(async (response) => {
    const found = webhookOf(response.config.url);
    if (found && response.data && response.data.method) {
      const { method, ...fields } = response.data;
      await axios.post(`http://127.0.0.1:${port}/bot${found[0]}/${method}`, fields);
    }
    return response;
  });
  // It posts an update once; whoever sees its message unanswered may read why here.
  process.on('unhandledRejection', (error) => console.error(`not delivered: ${error.message}`));

  await server.start();
  console.log(`http://127.0.0.1:${port}`);
  process.stdin.resume().on('end', () => process.exit(0));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
