import { bench, client, log } from './lib/client.mjs';
import { Watch } from './lib/watch.mjs';
const c = client(); const b = await bench(c);
const s = await b.session();
for (let i=0;i<6;i++){ const t=performance.now(); const w=await Watch.open(c,s.id); const t1=performance.now(); await w.turn('x'); const t2=performance.now(); w.close(); await new Promise(r=>setTimeout(r,i*150)); console.log('watch+pause',i*150,Math.round(t1-t),Math.round(t2-t1)); }
process.exit(0);
