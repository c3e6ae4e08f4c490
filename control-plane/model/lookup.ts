/** What can be asked for one key at a time: every Map is one. */
export interface Lookup<K, V> {
  get(key: K): V | undefined
}
