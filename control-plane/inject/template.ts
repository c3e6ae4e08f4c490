import type { ControlPlaneConfig } from '../config.ts'

/** What is the same for every Pod of a mesh. */
export interface InjectionTemplate {
  readonly config: ControlPlaneConfig
  /** Of the control plane. */
  readonly systemNamespace: string
}
