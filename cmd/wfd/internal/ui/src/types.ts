// What the API answers, as far as the page reads it. /openapi.json has all of it.

export type RunStatus = 'pending' | 'running' | 'waiting' | 'paused' | 'completed' | 'failed' | 'cancelled'
export type NodeStatus = 'scheduled' | 'running' | 'waiting' | 'completed' | 'failed' | 'skipped'
export type Status = RunStatus | NodeStatus

export interface Failure { class: string; message: string; node?: string; visit?: number; attempt?: number }
export interface Wait { node: string; for: string; name?: string; until?: string }
export interface Usage { input_tokens: number; output_tokens: number; cached_tokens?: number; model?: string; price?: { input: number; cached: number; output: number } }

export interface Spend { tokens: number; micro_usd: number }
export interface Budget { budget: string; limits: Spend & { on_exceed?: string }; spent: Spend; reserved: Spend; left?: Spend }

export interface Row {
  id: string; workflow: string; workflow_version?: number; hash: string; status: RunStatus
  created: string; updated: string; ended?: string; seq: number; version: number
  labels?: Record<string, string>; parent?: { run: string; node: string; visit: number }; forked_from?: string
  completed: number; failures: number; waits?: Wait[]; reason?: string; failure?: Failure; output?: unknown; output_size?: number
  erased?: string; spent?: { tokens: number; micro_usd: number }
  damaged?: number; why?: string
}

export interface Run {
  id: string; workflow: string; workflow_version?: number; hash: string; status: RunStatus; why: string
  created: string; updated: string; ended?: string; deadline?: string; seq: number; version: number
  labels?: Record<string, string>; parent?: { run: string; node: string; visit: number }; forked?: { run: string; version: number }
  input: unknown; output: unknown; error: Failure | null; errors?: Failure[]; waits?: Wait[]; usage: Usage
  breakpoints?: string[]; breakpoint?: { node: string; visit: number; to?: string }; content?: string; idle?: boolean
  cost?: { spent: Spend; reserved: Spend; limits?: Spend & { on_exceed?: string }; left?: Spend; over?: string }
}

export interface Event { seq: number; run: string; version: number; time: string; kind: string; actor: string; data: any; erased?: boolean }
export interface Change<T> { from: T; to: T }
export interface Changes {
  status?: Change<RunStatus>
  nodes?: Record<string, { from: NodeStatus | ''; to: NodeStatus | ''; visit: number; completed: number }>
  state?: Record<string, { from?: unknown; to?: unknown }>
  tokens?: Record<string, Change<number>>
}
export interface Frame { event: Event; changes: Changes }

export interface GraphEdge { to: string; if?: string; default?: boolean; on?: string; back?: boolean }
export interface GraphNode { id: string; kind: string; entry?: boolean; to?: GraphEdge[] }
export interface Graph { workflow: string; nodes: GraphNode[] }

export interface List<T> { items: T[]; next_cursor?: string }
export interface Replay extends List<Frame> { graphs: Record<string, Graph> }

export interface Defect { file?: string; line?: number; column?: number; severity?: string; code?: string; message: string; hint?: string; source?: string; shift?: number; width?: number; path?: string; node?: string }
export interface Definition { name: string; version: number; hash: string; registered?: string; definition?: any; source?: string; graph?: Graph }

// Schema is as much of JSON Schema as the forms understand.
export interface Schema {
  type?: string | string[]; title?: string; description?: string; default?: unknown; enum?: unknown[]; const?: unknown
  properties?: Record<string, Schema>; required?: string[]; items?: Schema; minItems?: number; maxItems?: number
  minimum?: number; maximum?: number; minLength?: number; maxLength?: number; format?: string; examples?: unknown[]
}

export interface Question { run: string; node: string; visit: number; workflow: string; prompt?: string; form?: Schema; assignee?: string; asked: string; due?: string; seq: number; version: number }

export interface Whoami { actor: string; scopes: string[]; namespace: string; namespaces: string[] }
