/** A server of `test.Echo` (grpc.ts) as its own process, on HOST:PORT. */
import { GrpcApp } from './grpc.ts'

const { HOST, PORT } = process.env
await GrpcApp.start(`${HOST}:${PORT}`)
process.stdout.write('listening\n')
