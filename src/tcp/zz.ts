import tls from 'node:tls'; import fs from 'node:fs'
import { reset } from './reset.ts'
const key=fs.readFileSync('/tmp/k.pem'),cert=fs.readFileSync('/tmp/c.pem')
const ts=tls.createServer({key,cert},s=>{
 s.on('error',e=>console.log('srv',(e as any).code)).on('end',()=>console.log('srv end')).on('close',()=>process.exit()); s.resume()
}).listen(0,()=>{
 const c=tls.connect({port:(ts.address() as any).port,rejectUnauthorized:false},()=>{ setTimeout(()=>{
  reset(c) }, Number(process.argv[2])) })
 c.on('error',()=>{})
})
