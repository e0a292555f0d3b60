// A way to Postgres that can be cut: `node pgproxy.mjs LISTEN TARGET` passes on what comes at one unix socket to the other. A process of
// its own, so that it can be stopped (SIGSTOP: nothing gets through, nobody notices) and woken (what was on its way arrives).
import { chmodSync } from 'node:fs';
import net from 'node:net';

const [listen, target] = process.argv.slice(2);

net.createServer((from) => {
	const to = net.connect(target);
	for (const [a, b] of [[from, to], [to, from]]) {
		a.on('error', () => b.destroy());
		a.on('close', () => b.destroy());
		a.pipe(b);
	}
}).listen(listen, () => {
	chmodSync(listen, 0o666);
	console.log('ready');
});
