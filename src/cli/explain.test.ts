import assert from 'node:assert/strict'
import { test } from 'node:test'
import { explain } from './explain.ts'
import { outrigger } from '../../test/support/outrigger.ts'
