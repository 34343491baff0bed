// The way to the daemon: requests, their problems, and streams that come back.
import { signal } from '@preact/signals'
import type { Defect } from './types'

// Problem is an RFC 9457 problem, or what stands for one when nothing answers.
export class Problem extends Error {
  status: number
  type: string
  hint: string
  problems: Defect[]
  constructor(status: number, body: any) {
    let text: string = body?.detail || body?.title || `the daemon answered ${status}`
    for (const f of body?.errors ?? []) text += `; ${f.location ? f.location + ': ' : ''}${f.message}`
    super(text)
    this.status = status
    this.type = String(body?.type ?? '').replace('urn:wfd:problem:', '')
    this.hint = body?.hint ?? ''
    this.problems = body?.problems ?? []
  }
  get offline() { return this.status === 0 || this.type === 'starting' || this.type === 'stopped' }
}

// reachable says whether the daemon answered lately, locked whether it asks for a token.
export const reachable = signal(true)
export const locked = signal(false)

// namespace is what every request is about; '' is the default one, or the token's.
const kept = () => { try { return localStorage.getItem('wfd namespace') ?? '' } catch { return '' } }
export const namespace = signal(kept())
export function choose(name: string) {
  try { localStorage.setItem('wfd namespace', name) } catch { /* for this visit, then */ }
  namespace.value = name
}

async function request(method: string, path: string, init: RequestInit = {}): Promise<Response> {
  let r: Response
  try {
    const headers = namespace.value ? { ...(init.headers as Record<string, string>), 'Wfd-Namespace': namespace.value } : init.headers
    r = await fetch(path, { method, credentials: 'same-origin', ...init, headers })
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e
    reachable.value = false
    throw new Problem(0, { detail: 'the daemon does not answer', hint: 'it may be restarting: the page goes on by itself once it is back' })
  }
  if (!r.ok) {
    let body: any = null
    try { body = await r.json() } catch { /* an answer of something in between */ }
    const p = new Problem(r.status, body)
    if (r.status === 401) locked.value = true
    reachable.value = !p.offline
    throw p
  }
  reachable.value = true
  return r
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request('GET', path, { signal })).json()
}

// logout ends the page's session: the cookie is taken back.
export async function logout() {
  await request('DELETE', '/v1/session')
  choose('')
}

export async function post<T>(path: string, body: unknown, key: string = crypto.randomUUID()): Promise<T> {
  const r = await request('POST', path, { body: JSON.stringify(body ?? {}), headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key } })
  return r.status === 204 ? (undefined as T) : r.json()
}

export const query = (params: Record<string, string | number | undefined | null>) => {
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries(params)) if (v !== undefined && v !== null && v !== '') q.set(k, String(v))
  const s = q.toString()
  return s ? '?' + s : ''
}

interface Handlers {
  event?: (kind: string, data: any) => void
  token?: (t: any) => void
  open?: (again: boolean) => void
}

const beat = 40_000 // the daemon says every 15 s that it is there

// follow reads a stream of events after a seq until it is stopped. It comes back after
// a restart of the daemon, with the last seq it has seen, and rests while nobody looks:
// a browser has six connections to a host, and every tab wants one.
export function follow(path: string, after: number, on: Handlers): () => void {
  let last = after
  let stopped = false
  let abort = new AbortController()
  let wake = () => {}
  let failures = 0
  let opened = false

  const visible = () => { if (!document.hidden) wake(); else abort.abort() }
  document.addEventListener('visibilitychange', visible)
  const rest = (ms: number) => new Promise<void>(done => {
    const t = setTimeout(done, ms)
    wake = () => { clearTimeout(t); done() }
  })

  const read = async () => {
    abort = new AbortController()
    const r = await request('GET', path, { signal: abort.signal, headers: { Accept: 'text/event-stream', ...(last > 0 ? { 'Last-Event-ID': String(last) } : {}) } })
    if (r.status === 204 || !r.body) return
    failures = 0
    on.open?.(opened)
    opened = true
    const reader = r.body.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    let watchdog = 0
    try {
      for (;;) {
        clearTimeout(watchdog)
        watchdog = setTimeout(() => abort.abort(), beat)
        const { value, done } = await reader.read()
        if (done) return
        text += value
        for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
          let id = '', name = '', data = ''
          for (const line of text.slice(0, end).split('\n')) {
            if (line.startsWith('id: ')) id = line.slice(4)
            else if (line.startsWith('event: ')) name = line.slice(7)
            else if (line.startsWith('data: ')) data += line.slice(6)
          }
          if (!data) continue
          if (id) last = Number(id)
          if (name === 'token') on.token?.(JSON.parse(data))
          else if (name !== 'problem') on.event?.(name, JSON.parse(data))
        }
      }
    } finally {
      clearTimeout(watchdog)
    }
  }

  void (async () => {
    while (!stopped) {
      if (document.hidden) { await rest(3_600_000); continue }
      try {
        await read()
      } catch (e) {
        if (e instanceof Problem && (e.status === 401 || e.status === 404)) { await rest(5_000); continue }
        if (e instanceof Problem && e.status === 403) return // not for whoever looks, and no waiting makes it so
        failures++
      }
      if (!stopped) await rest(Math.min(250 * 2 ** Math.min(failures, 4), 4_000))
    }
  })()

  return () => {
    stopped = true
    document.removeEventListener('visibilitychange', visible)
    abort.abort()
    wake()
  }
}
