// A film is a run, and the runs under it, at one of its events. Its frames come from
// the daemon, which made them with the one fold that there is: each says what its event
// changed. Going on applies that, going back takes it back, so that a step costs what
// it changed, and nothing here knows what an event means.
import type { Event, Frame, Graph, NodeStatus, RunStatus } from './types'

export interface NodeShot { status: NodeStatus; visit: number; completed: number }

// Shot is one run as it stands.
export class Shot {
  status: RunStatus = 'pending'
  seq = 0
  version = 0
  nodes = new Map<string, NodeShot>()
  state = new Map<string, unknown>()
  tokens = new Map<string, number>()
}

// Undo is what a frame took the place of.
interface Undo { status: RunStatus; seq: number; version: number; nodes: [string, NodeShot | undefined][]; state: [string, unknown][]; tokens: [string, number | undefined][] }

function put<V>(m: Map<string, V>, k: string, v: V | undefined) {
  if (v === undefined) m.delete(k)
  else m.set(k, v)
}

export class Film {
  frames: Frame[] = []
  graphs: Record<string, Graph> = {}
  at = 0 // frames below it have happened
  readonly shots = new Map<string, Shot>()
  private undo: Undo[] = []

  add(frames: Frame[], graphs: Record<string, Graph>) {
    const last = this.frames.at(-1)?.event.seq ?? 0
    for (const f of frames) if (f.event.seq > last) this.frames.push(f)
    Object.assign(this.graphs, graphs)
  }

  get last(): number { return this.frames.at(-1)?.event.seq ?? 0 }
  get current(): Frame | undefined { return this.frames[this.at - 1] }

  shot(run: string): Shot {
    let s = this.shots.get(run)
    if (!s) this.shots.set(run, (s = new Shot()))
    return s
  }

  // seek goes to where n frames have happened.
  seek(n: number) {
    n = Math.max(0, Math.min(n, this.frames.length))
    while (this.at < n) this.forward()
    while (this.at > n) this.back()
  }

  // indexOf returns how many frames have happened once everything up to a seq has.
  indexOf(seq: number): number {
    let lo = 0, hi = this.frames.length
    while (lo < hi) {
      const mid = (lo + hi) >> 1
      if (this.frames[mid].event.seq <= seq) lo = mid + 1
      else hi = mid
    }
    return lo
  }

  private forward() {
    const { event, changes: c } = this.frames[this.at]
    const s = this.shot(event.run)
    const u: Undo = { status: s.status, seq: s.seq, version: s.version, nodes: [], state: [], tokens: [] }
    s.seq = event.seq
    s.version = event.version
    if (c.status) s.status = c.status.to
    for (const id in c.nodes) {
      const n = c.nodes[id]
      u.nodes.push([id, s.nodes.get(id)])
      put(s.nodes, id, n.to === '' ? undefined : { status: n.to, visit: n.visit, completed: n.completed })
    }
    for (const k in c.state) {
      u.state.push([k, s.state.get(k)])
      put(s.state, k, c.state[k].to)
    }
    for (const id in c.tokens) {
      u.tokens.push([id, s.tokens.get(id)])
      put(s.tokens, id, c.tokens[id].to || undefined)
    }
    this.undo[this.at++] = u
  }

  private back() {
    const u = this.undo[--this.at]
    const s = this.shot(this.frames[this.at].event.run)
    s.status = u.status
    s.seq = u.seq
    s.version = u.version
    for (const [id, n] of u.nodes) put(s.nodes, id, n)
    for (const [k, v] of u.state) put(s.state, k, v)
    for (const [id, n] of u.tokens) put(s.tokens, id, n)
  }
}

const dollars = (micros?: number) => micros ? `, $${(micros / 1e6).toFixed(6).replace(/0+$/, '')}` : ''

// lineOf says an event in one line.
export function lineOf(e: Event): string {
  const d = e.data ?? {}
  if (e.erased && d.erased) return 'its content was erased'
  const visit = d.node ? d.node + (d.visit > 1 ? `#${d.visit}` : '') : ''
  const attempt = d.attempt > 1 ? `, attempt ${d.attempt}` : ''
  switch (e.kind) {
    case 'definition.registered': return `${d.name} v${d.version}`
    case 'payload.erased': return `${d.scope}: ${d.reason}`
    case 'run.created': return `${d.workflow} v${d.workflow_version ?? '?'} starts`
    case 'run.completed': return 'the run has completed'
    case 'run.failed': return `the run failed: ${d.class}: ${d.message}`
    case 'run.cancelled': return d.reason ? `cancelled: ${d.reason}` : 'cancelled'
    case 'run.paused': return d.breakpoint ? `paused at breakpoint ${d.breakpoint}` : d.reason ? `paused: ${d.reason}` : 'paused'
    case 'run.resumed': return d.retry ? 'tried again' : d.reason ? `resumed: ${d.reason}` : 'resumed'
    case 'run.waiting': return 'waits for ' + (d.on ?? []).map((w: any) => `${w.for === 'input' ? 'an answer' : w.for === 'signal' ? `signal ${w.name}` : w.for} at ${w.node}`).join(', ')
    case 'run.forked': return `begins at v${d.at} of ${short(d.from)}`
    case 'run.restored': return `goes on from v${d.to}${d.name ? ` (${d.name})` : ''}`
    case 'node.scheduled': return visit + (d.signal ? ` waits for signal ${d.signal}` : '')
    case 'node.started': return visit + (d.items !== undefined ? `: ${d.items} items` : attempt)
    case 'node.completed': return visit + (d.passes ? '' : `: ${brief(d.result)}`)
    case 'node.failed': return `${visit}${attempt}: ${d.class}: ${d.message}`
    case 'node.retried': return `${visit}: attempt ${d.attempt} follows`
    case 'node.lost': return `${visit}${attempt}${d.reason ? ': ' + d.reason : ''}`
    case 'node.skipped': return `${visit}: ${d.reason}`
    case 'edge.taken': return `${d.from} → ${d.to}${d.outcome === 'always' ? '' : ` (${d.outcome})`}`
    case 'state.set': return `${d.key} = ${brief(d.value)}`
    case 'timer.set': return `${visit || 'run'}: ${d.for} at ${d.at}`
    case 'timer.fired': return `${visit || 'run'}: ${d.for}`
    case 'signal.received': return `${d.name} ${brief(d.value)}`
    case 'input.requested': return `${visit}: ${d.prompt ?? ''}`
    case 'input.received': return `${visit}: ${brief(d.value)}`
    case 'child.started': return `${visit} starts ${d.workflow}`
    case 'child.ended': return `${visit}: ${d.status}`
    case 'checkpoint.created': return `v${d.at}${d.name ? ` is ${d.name}` : ''}${d.pinned ? ', pinned' : ''}`
    case 'agent.chosen': return `${visit}: ${d.agent}${d.role ? ` as ${d.role}` : ''}${d.model ? `, ${d.model}` : ''}`
    case 'tool.called': return `${visit}: ${d.server}.${d.tool}`
    case 'cost.reserved': return `${visit}: up to ${(d.input_tokens ?? 0) + (d.output_tokens ?? 0)} tokens${dollars(d.micro_usd)}`
    case 'cost.settled': return `${visit}: ${(d.usage?.input_tokens ?? 0) + (d.usage?.output_tokens ?? 0)} tokens${dollars(d.micro_usd)}${d.lost ? ', lost' : ''}`
    case 'budget.exceeded': return `${visit}: the budget is used up`
    case 'budget.raised': return `the budget is changed${d.reason ? `: ${d.reason}` : ''}`
    case 'chat.turn': return `${visit}: ${d.speaker} in round ${d.round}${d.vote ? `, ${d.vote}` : ''}: ${d.missed ? d.missed.message : brief(d.message)}`
    case 'chat.ended': return `${visit}: ${d.outcome} after ${d.turns} turns, ${d.approve} of ${d.of} approve`
    case 'plan.made': return `${visit}: ${(d.tasks ?? []).length} tasks`
    case 'result.ignored': return `${visit}${attempt}: ${d.reason}`
    case 'checkpoint.pruned': return `below v${d.below}`
    case 'trigger.set': return `${d.name}: ${d.schedule ? `${d.schedule.cron} starts ${d.schedule.workflow}` : d.incoming ? `comes in, ${d.incoming.workflow ? `starts ${d.incoming.workflow}` : `is signal ${d.incoming.signal}`}` : `${(d.outgoing?.kinds ?? []).join(', ')} to ${d.outgoing?.url ?? ''}`}`
    case 'trigger.paused': case 'trigger.resumed': case 'trigger.deleted': return `${d.name}${d.reason ? `: ${d.reason}` : ''}`
    case 'trigger.fired': return `${d.name}: ${d.outcome}${d.reason ? `, ${d.reason}` : ''}`
    case 'trigger.delivered': return `${d.name}${d.reason ? `: ${d.reason}` : ''}`
    case 'token.created': return `${d.name} may ${(d.scopes ?? []).join(', ')}${d.namespace ? ` in ${d.namespace}` : ''}`
    case 'token.revoked': return `${d.name}${d.reason ? `: ${d.reason}` : ''}`
    case 'security.warned': case 'security.blocked': case 'security.requested': case 'security.granted': case 'security.denied':
      return [visit, d.rule, d.message ?? d.reason].filter(Boolean).join(': ')
  }
  return visit || brief(d)
}

export function brief(v: unknown): string {
  const s = v === undefined ? '' : typeof v === 'string' ? v : JSON.stringify(v)
  return s.length > 160 ? s.slice(0, 160) + '…' : s
}

export const short = (id: string) => id.slice(-8)
