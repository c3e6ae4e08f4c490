import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Ends the process groups that were told to it when this process is gone, however it went: kill -9 included. It is a
 * shell that reads a pipe which only we hold, so the end of the pipe is the end of us. A child that watches its own
 * stdin would do for our programs, but not for a user's, which know nothing of this.
 */
export class OrphanGuard implements Disposable {
  readonly #shell: ChildProcess

  constructor() {
    this.#shell = spawn('/bin/sh', ['-c', script, 'outrigger-orphan-guard'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    // A guard that could not start or died leaves the write to fail; orderly ends do not need it.
    this.#shell.on('error', ignore)
    this.#shell.stdin?.on('error', ignore)
    this.#shell.unref()
  }

  /** From now on the group is ended with us. */
  watch(group: number): void {
    this.#shell.stdin?.write(`+ ${group}\n`)
  }

  /** The group has ended, its number may be given to others. */
  forget(group: number): void {
    this.#shell.stdin?.write(`- ${group}\n`)
  }

  [Symbol.dispose](): void {
    this.#shell.stdin?.end()
  }
}

function ignore(): void {}

// Signals from the terminal are not for the guard: it must outlive us.
const script = `
trap '' HUP INT TERM
groups=
while read -r sign group; do
  case $sign in
    +) groups="$groups $group" ;;
    -) left=; for g in $groups; do [ "$g" = "$group" ] || left="$left $g"; done; groups=$left ;;
  esac
done
[ -n "$groups" ] || exit 0
for g in $groups; do kill -s TERM -- "-$g" 2>/dev/null; done
sleep 3
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
`
