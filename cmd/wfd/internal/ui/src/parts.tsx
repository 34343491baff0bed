// Small parts that every screen is made of.
import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { Problem } from './api'
import { brief, short } from './film'
import { Icon } from './icons'
import { ago, moment, plainText, pretty } from './text'
import type { Defect, List, Status } from './types'

// now ticks while somebody looks.
export const now = signal(Date.now())
setInterval(() => { if (!document.hidden) now.value = Date.now() }, 1000)

export function Pill({ status }: { status: Status | '' }) {
  return <span class={`pill s-${status || 'none'}`}><i class="dot" aria-hidden="true" />{status || 'not reached'}</span>
}

export function Ago({ at }: { at: string }) {
  return <time dateTime={at} title={moment(at)}>{ago(at, now.value)}</time>
}

export function RunLink({ id, at, children }: { id: string; at?: number; children?: ComponentChildren }) {
  return <a class="mono" href={`/runs/${id}${at ? `?at=${at}` : ''}`} title={id}>{children ?? short(id)}</a>
}

// Text is what somebody wrote, as text and nothing else.
export function Text({ of }: { of: unknown }) {
  return <>{plainText(typeof of === 'string' ? of : brief(of))}</>
}

const folded = 1200

// Value shows a value whole, or first its beginning.
export function Value({ of, label }: { of: unknown; label?: string }) {
  const [open, setOpen] = useState(false)
  const text = plainText(typeof of === 'string' ? of : pretty(of))
  const long = text.length > folded
  return <div class="value" dir="ltr">
    <pre aria-label={label} tabIndex={long ? 0 : undefined}>{long && !open ? text.slice(0, folded) + '…' : text}</pre>
    {long && <button class="link" onClick={() => setOpen(!open)}>{open ? 'less' : `all ${text.length.toLocaleString('en-US')} characters`}</button>}
  </div>
}

export function Trouble({ error, what }: { error: unknown; what?: string }) {
  if (!error) return null
  const p = error as Problem
  return <div class="trouble" role="alert">
    <strong>{what ? what + ': ' : ''}</strong><Text of={p.message ?? String(error)} />
    {p.hint && <div class="muted"><Text of={p.hint} /></div>}
    {p.problems?.length > 0 && <Defects of={p.problems} />}
  </div>
}

// Defects are the mistakes of a definition, each with its place and a caret below it.
export function Defects({ of }: { of: Defect[] }) {
  return <ul class="defects">{of.map(d => <li>
    <div><span class={`tag ${d.severity === 'warning' ? 'warn' : 'bad'}`}>{d.severity ?? 'error'}</span> <span class="mono">{d.file ? plainText(d.file) + ':' : ''}{d.line}{d.column ? ':' + d.column : ''}</span> <Text of={d.message} /></div>
    {d.source && <pre class="caret" dir="ltr">{String(d.line).padStart(4)} │ {plainText(d.source.replace(/\t/g, ' '))}{'\n'}{' '.repeat(7 + Math.max(0, (d.column ?? 1) - 1 - (d.shift ?? 0)))}<b>{'^'.repeat(Math.max(1, d.width ?? 1))}</b></pre>}
    {d.hint && <div class="muted"><Text of={d.hint} /></div>}
  </li>)}</ul>
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false)
  return <button class="icon" aria-label={label} title={label} onClick={async () => {
    try { await navigator.clipboard.writeText(text); setDone(true); setTimeout(() => setDone(false), 1200) } catch { /* not allowed */ }
  }}><Icon of={done ? 'done' : 'copy'} /></button>
}

// Dialog is modal: what is behind it rests, and Escape leaves it.
export function Dialog({ title, close, children, wide }: { title: string; close: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => { ref.current?.showModal() }, [])
  return <dialog ref={ref} class={wide ? 'wide' : ''} aria-label={title} onClose={close} onClick={e => { if (e.target === ref.current) close() }}>
    <header><h2>{title}</h2><button class="icon" aria-label="Close" onClick={close}><Icon of="close" /></button></header>
    {children}
  </dialog>
}

// useLoad asks for something when its key changes, and once more, keeping what it has
// meanwhile, whenever again does.
export function useLoad<T>(key: string, load: (s: AbortSignal) => Promise<T>, again: number = 0): { data?: T; error?: unknown; reload: () => void; busy: boolean } {
  const [state, setState] = useState<{ key: string; data?: T; error?: unknown }>({ key })
  const [round, setRound] = useState(0)
  const [busy, setBusy] = useState(true)
  useEffect(() => {
    const abort = new AbortController()
    setBusy(true)
    load(abort.signal).then(
      data => { setState({ key, data }); setBusy(false) },
      error => { if (error?.name !== 'AbortError') { setState(s => ({ key, data: s.key === key ? s.data : undefined, error })); setBusy(false) } },
    )
    return () => abort.abort()
  }, [key, round, again])
  const fresh = state.key === key
  return { data: fresh ? state.data : undefined, error: fresh ? state.error : undefined, reload: () => setRound(r => r + 1), busy }
}

// usePages asks for as many pages of a list as somebody wants to see, and for all of
// them anew whenever again changes: what has gone from a page below goes there, too.
export function usePages<T>(key: string, load: (cursor: string, s: AbortSignal) => Promise<List<T>>, again = 0): Pages<T> {
  const [want, setWant] = useState({ key, pages: 1 })
  const pages = want.key === key ? want.pages : 1
  const l = useLoad(key, async s => {
    const items: T[] = []
    let next = ''
    for (let n = 0; n < pages; n++) {
      const page = await load(next, s)
      items.push(...page.items)
      if (!(next = page.next_cursor ?? '')) break
    }
    return { items, next }
  }, again + pages / 1024)
  return { items: l.data?.items, error: l.error, more: l.data?.next ? () => setWant({ key, pages: pages + 1 }) : undefined, reload: l.reload, busy: l.busy }
}
export interface Pages<T> { items?: T[]; error?: unknown; more?: () => void; reload: () => void; busy: boolean }

// More asks for the next page of a list that has one.
export function More({ of, children }: { of: Pages<unknown>; children: ComponentChildren }) {
  return of.more ? <button class="more" disabled={of.busy} onClick={of.more}>{children}</button> : null
}

// told are messages that go by themselves.
export const told = signal<{ id: number; text: string; bad?: boolean }[]>([])
let messages = 0
export function tell(text: string, bad = false) {
  const id = ++messages
  told.value = [...told.value, { id, text, bad }]
  setTimeout(() => { told.value = told.value.filter(t => t.id !== id) }, bad ? 9000 : 4000)
}

export async function attempt<T>(what: string, f: () => Promise<T>): Promise<T | undefined> {
  try {
    return await f()
  } catch (e) {
    tell(`${what}: ${(e as Problem).message}${(e as Problem).hint ? ' (' + (e as Problem).hint + ')' : ''}`, true)
  }
}
