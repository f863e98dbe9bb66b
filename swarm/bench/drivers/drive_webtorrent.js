// WebTorrent as a process: seeds or fetches one torrent until SIGTERM.
//
// usage: drive_webtorrent.js seed|leech TORRENT FOLDER PORT
'use strict'

const fs = require('fs')
const WebTorrent = require('webtorrent')

const [role, torrent, folder, port] = process.argv.slice(2)
const client = new WebTorrent({
  dht: false, lsd: false, utp: false, utPex: false, natUpnp: false, natPmp: false, torrentPort: Number(port)
})
client.on('error', error => {
  console.error(error)
  process.exit(1)
})
client.add(fs.readFileSync(torrent), { path: folder, skipVerify: role === 'seed' })
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => client.destroy(() => process.exit(0)))
}
