/** Something the person who runs the bench can put right: printed without a stack, exit code 1. */
export class BenchFailure extends Error {
  override readonly name = 'BenchFailure'
}
