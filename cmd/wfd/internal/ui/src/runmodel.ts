// What the screen of one run knows: its film, where on it one stands, and how the run
// goes on meanwhile.
import { batch, computed, signal } from '@preact/signals'
import { follow, get, Problem, query } from './api'
import { Film } from './film'
import { set } from './router'
import type { Event, Replay, Run } from './types'

// most frames that are held: a run of more is shown up to there.
const most = 100_000

// mostStream characters of an answer that comes are held; of a longer one its end.
const mostStream = 200_000

// Attempt is one attempt, or one stay, of a visit, as a bar of the timeline.
export interface Bar { run: string; node: string; visit: number; attempt: number; what: 'run' | 'wait' | 'queue'; from: number; to: number; first: number; last: number; end: '' | 'completed' | 'failed' | 'lost' | 'skipped' }

const terminal = ['completed', 'failed', 'cancelled']

export class RunModel {
  readonly film = new Film()
  readonly run = signal<Run | null>(null)
  readonly error = signal<unknown>(null)
  readonly loading = signal(true)
  readonly cut = signal(false) // there are more frames than are held
  // step changes with every step and every frame that comes: what reads the film reads it.
  readonly step = signal(0)
  readonly live = signal(true) // stands at the end, and goes with it
  readonly playing = signal(false)
  readonly chosen = signal('') // node that is looked at, as run/node
  readonly streaming = signal(new Map<string, string>()) // answers as they come, by node#visit.attempt
  readonly bars: Bar[] = []
  readonly taken = new Map<string, number[]>() // by run, from and to: the frames at which the edge was taken
  readonly byNode = new Map<string, number[]>() // by run/node: its frames
  readonly parents = new Map<string, { run: string; node: string }>()
  private openBars = new Map<string, Bar>()
  private scanned = 0
  private stop = () => {}
  private closed = false
  private fetching = false
  private wanted = false
  private timer = 0
  private urlTimer = 0
  private playTimer = 0

  readonly past = computed(() => !this.live.value)

  constructor(readonly id: string, at: number) {
    void this.open(at)
  }

  private async open(at: number) {
    try {
      const [run] = await Promise.all([get<Run>(`/v1/runs/${this.id}`), this.frames()])
      this.run.value = run
    } catch (e) {
      if (e instanceof Problem && e.offline && !this.closed) { setTimeout(() => void this.open(at), 700); return }
      this.error.value = e
      this.loading.value = false
      return
    }
    if (this.closed) return
    batch(() => {
      const i = at ? this.film.indexOf(at) : this.film.frames.length
      this.live.value = !at || i >= this.film.frames.length
      this.film.seek(at ? Math.max(1, i) : i)
      this.loading.value = false
      this.step.value++
    })
    this.stop = follow(`/v1/runs/${this.id}/events?follow=always&tokens=true`, this.film.last, {
      event: () => this.more(),
      token: t => this.token(t),
      open: () => this.more(),
    })
    this.timer = setInterval(() => void this.poll(), 1500) as unknown as number
  }

  close() {
    this.closed = true
    this.stop()
    clearInterval(this.timer)
    clearTimeout(this.urlTimer)
    clearTimeout(this.playTimer)
  }

  get ended() { return terminal.includes(this.run.value?.status ?? '') }

  // poll looks at what no event of this run tells: how the runs under it go on, and why
  // it does not.
  private async poll() {
    if (document.hidden || this.ended && this.film.shot(this.id).status === this.run.value?.status) return
    if (this.film.shots.size > 1) this.more()
    else await this.refresh()
  }

  private async refresh() {
    try {
      const r = await get<Run>(`/v1/runs/${this.id}`)
      if (!this.closed) this.run.value = r
    } catch { /* it comes back */ }
  }

  // more asks for what has come since: one request at a time, however many events.
  private more() {
    this.wanted = true
    if (this.fetching || this.closed) return
    this.fetching = true
    void (async () => {
      while (this.wanted && !this.closed) {
        this.wanted = false
        try {
          await this.frames()
          await this.refresh()
        } catch { await new Promise(r => setTimeout(r, 500)); continue }
        batch(() => {
          if (this.live.value) this.film.seek(this.film.frames.length)
          this.step.value++
        })
        await new Promise(r => setTimeout(r, 60))
      }
      this.fetching = false
    })()
  }

  private async frames() {
    let from = this.film.last ? this.film.last + 1 : 0
    for (;;) {
      const page = await get<Replay>(`/v1/runs/${this.id}/replay${query({ from: from || undefined, limit: 2000 })}`)
      this.film.add(page.items, page.graphs)
      this.scan()
      if (!page.next_cursor || this.closed) return
      if (this.film.frames.length >= most) { this.cut.value = true; return }
      from = Number(page.next_cursor)
    }
  }

  // scan notes what the timeline and the graph look up, of the frames that are new.
  private scan() {
    const { frames } = this.film
    for (; this.scanned < frames.length; this.scanned++) {
      const i = this.scanned
      const e = frames[i].event
      const d = e.data ?? {}
      const node: string = d.node ?? d.from ?? ''
      if (node) push(this.byNode, `${e.run}/${node}`, i)
      if (e.kind === 'edge.taken') push(this.taken, `${e.run}/${d.from}/${d.to}`, i)
      if (e.kind === 'child.started') this.parents.set(d.child, { run: e.run, node: d.node })
      this.bar(e, i)
    }
  }

  private bar(e: Event, i: number) {
    const d = e.data ?? {}
    const t = Date.parse(e.time)
    const key = `${e.run}/${d.node}`
    const begin = (what: Bar['what']) => {
      this.endBar(key, t, i, '')
      const b: Bar = { run: e.run, node: d.node, visit: d.visit ?? 1, attempt: d.attempt ?? 0, what, from: t, to: 0, first: i, last: i, end: '' }
      this.openBars.set(key, b)
      this.bars.push(b)
    }
    switch (e.kind) {
      case 'node.scheduled': begin(d.signal ? 'wait' : 'queue'); break
      case 'node.started': case 'child.started': begin('run'); break
      case 'input.requested': begin('wait'); break
      case 'timer.set': if (d.for === 'wait') begin('wait'); break
      case 'node.retried': if (d.at) begin('queue'); break
      case 'chat.turn': this.endBar(key, t, i, d.missed ? 'failed' : 'completed'); break
      case 'node.completed': this.endBar(key, t, i, 'completed'); break
      case 'node.failed': this.endBar(key, t, i, 'failed'); break
      case 'node.lost': this.endBar(key, t, i, 'lost'); break
      case 'node.skipped': this.endBar(key, t, i, 'skipped'); break
      case 'run.completed': case 'run.failed': case 'run.cancelled': case 'run.restored':
        for (const k of [...this.openBars.keys()]) if (k.startsWith(e.run + '/')) this.endBar(k, t, i, e.kind === 'run.failed' ? 'failed' : 'skipped')
    }
  }

  private endBar(key: string, t: number, i: number, end: Bar['end']) {
    const b = this.openBars.get(key)
    if (!b) return
    b.to = t
    b.last = i
    b.end = end
    this.openBars.delete(key)
    if (b.run === this.id) this.forget(`${b.node}#${b.visit}.${b.attempt}`)
  }

  private token(t: any) {
    const key = `${t.node}#${t.visit}.${t.attempt}`
    const m = new Map(this.streaming.value)
    const text = (m.get(key) ?? '') + (t.text ?? '')
    m.set(key, text.length > mostStream ? '…' + text.slice(-mostStream / 2) : text)
    this.streaming.value = m
  }

  // forget lets go of what an attempt has streamed: its event has all of it.
  private forget(key: string) {
    if (!this.streaming.peek().has(key)) return
    const m = new Map(this.streaming.peek())
    m.delete(key)
    this.streaming.value = m
  }

  // seek goes to where n frames have happened; at the end it goes with the run.
  seek(n: number, follows = n >= this.film.frames.length) {
    batch(() => {
      this.film.seek(Math.max(1, n))
      this.live.value = follows && this.film.at === this.film.frames.length
      this.step.value++
    })
    // A browser takes 200 changes of the address in half a minute, a slider makes more.
    clearTimeout(this.urlTimer)
    this.urlTimer = setTimeout(() => set({ at: this.live.value ? '' : String(this.film.current?.event.seq ?? '') }), 150) as unknown as number
  }

  // visit goes to the next end of a visit, or the one before.
  visit(by: 1 | -1) {
    const { frames } = this.film
    for (let i = this.film.at - 1 + by; i >= 0 && i < frames.length; i += by) {
      if (frames[i].event.kind === 'node.completed' || frames[i].event.kind === 'node.failed') { this.seek(i + 1); return }
    }
    this.seek(by > 0 ? frames.length : 1)
  }

  play(on = !this.playing.value) {
    clearTimeout(this.playTimer)
    this.playing.value = on
    if (!on) return
    if (this.film.at >= this.film.frames.length) this.seek(1)
    const step = () => {
      const { frames, at } = this.film
      if (!this.playing.value || at >= frames.length) { this.playing.value = false; return }
      const gap = Date.parse(frames[at].event.time) - Date.parse(frames[at - 1].event.time)
      this.playTimer = setTimeout(() => { this.seek(this.film.at + 1); step() }, Math.min(700, Math.max(70, gap))) as unknown as number
    }
    step()
  }
}

function push<K>(m: Map<K, number[]>, k: K, i: number) {
  const l = m.get(k)
  if (l) l.push(i)
  else m.set(k, [i])
}

// below returns how many of the sorted numbers are below n.
export function below(sorted: number[] | undefined, n: number): number {
  if (!sorted) return 0
  let lo = 0, hi = sorted.length
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if (sorted[mid] < n) lo = mid + 1
    else hi = mid
  }
  return lo
}
