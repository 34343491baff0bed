// When what happened: a bar for each attempt and each wait. Time in which nothing was at
// work is pressed together, so that a run that waited a weekend for an answer can be read.
import { Component } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { groups } from './layout'
import type { Bar, RunModel } from './runmodel'
import { duration, plainText } from './text'
import { now } from './parts'

export interface Scale { x: (t: number) => number; gaps: { at: number; width: number; ms: number }[]; from: number; to: number }

// scaleOf returns where a time is, from 0 to 1.
export function scaleOf(bars: Bar[], times: number[], end: number): Scale {
  const from = times[0] ?? end
  const to = Math.max(end, times.at(-1) ?? end, from + 1)
  // Busy is where an attempt is at work.
  const busy: [number, number][] = []
  for (const b of bars.filter(b => b.what === 'run').map(b => [b.from, b.to || to] as [number, number]).sort((a, b) => a[0] - b[0])) {
    const last = busy.at(-1)
    if (last && b[0] <= last[1]) last[1] = Math.max(last[1], b[1])
    else busy.push([b[0], b[1]])
  }
  const work = busy.reduce((s, [a, b]) => s + b - a, 0)
  const most = Math.max(250, work * 0.06) // how long idle time is shown as, at the most
  const cuts: { t: number; v: number }[] = [{ t: from, v: 0 }]
  const gaps: { t: number; v: number; w: number; ms: number }[] = []
  let v = 0
  const on = (t: number, idle: boolean) => {
    const ms = t - cuts.at(-1)!.t
    if (ms <= 0) return
    const w = idle && ms > most ? most : ms
    if (w < ms) gaps.push({ t: cuts.at(-1)!.t, v, w, ms })
    v += w
    cuts.push({ t, v })
  }
  // Events cut idle time too, so that what came in between is told apart.
  let k = 0
  const stops = [...times, to]
  for (const [a, b] of [...busy, [to, to] as [number, number]]) {
    for (; k < stops.length && stops[k] <= a; k++) on(stops[k], true)
    on(a, true)
    on(b, false)
    while (k < stops.length && stops[k] <= b) k++
  }
  const total = v || 1
  return {
    from, to,
    gaps: gaps.map(g => ({ at: g.v / total, width: g.w / total, ms: g.ms })),
    x: t => {
      if (t <= from) return 0
      if (t >= to) return 1
      let lo = 0, hi = cuts.length - 1
      while (lo + 1 < hi) {
        const mid = (lo + hi) >> 1
        if (cuts[mid].t <= t) lo = mid
        else hi = mid
      }
      const a = cuts[lo], b = cuts[hi]
      return (b.t === a.t ? b.v : a.v + (t - a.t) / (b.t - a.t) * (b.v - a.v)) / total
    },
  }
}

// Bars are those of a row. A step of the slider does not change them: what is ahead of it
// is veiled as a whole.
class Bars extends Component<{ bars: Bar[]; many: number; scale: Scale; end: number; left: number; track: number }> {
  shouldComponentUpdate(next: typeof this.props) {
    const p = this.props
    return next.many !== p.many || next.scale !== p.scale || next.end !== p.end || next.left !== p.left || next.track !== p.track
  }
  render() {
    const { bars, scale, end, left, track } = this.props
    return bars.map(b => {
      const x = scale.x(b.from), w = scale.x(b.to || end) - x
      const state = b.what === 'run' ? b.end || 'running' : b.what
      return <div key={`${b.node}${b.first}`} class={`tl-bar b-${state}`} style={{ left: `${left + x * track}px`, width: `${Math.max(2, w * track)}px` }}
        title={`${b.node}${b.visit > 1 ? ` #${b.visit}` : ''}${b.attempt > 1 ? ` attempt ${b.attempt}` : ''}: ${b.what === 'run' ? b.end || 'at work' : b.what === 'wait' ? 'waits' : 'queued'}, ${duration((b.to || end) - b.from)}`} />
    })
  }
}

const none: ReadonlySet<string> = new Set()
const itemOf = (node: string) => node.replace(/\[\d+\]$/, '')

export function Timeline({ m }: { m: RunModel }) {
  m.step.value
  const { film } = m
  const n = film.frames.length
  const open = !m.ended && m.bars.some(b => !b.to)
  const end = open ? now.value : Date.parse(film.frames.at(-1)?.event.time ?? '')
  const scale = useMemo(() => scaleOf(m.bars, film.frames.map(f => Date.parse(f.event.time)), end), [n, open && end])
  const box = useRef<HTMLDivElement>(null)
  const [wide, setWide] = useState(0)
  useEffect(() => {
    const look = new ResizeObserver(([e]) => setWide(e.contentRect.width))
    look.observe(box.current!)
    return () => look.disconnect()
  }, [])
  const graphs = Object.keys(film.graphs).length
  const rows = useMemo(() => {
    const alike = new Map(Object.entries(film.graphs).map(([run, g]) => [run, groups(g, none)]))
    const rows = new Map<string, { run: string; node: string; many: Set<string>; bars: Bar[] }>()
    for (const b of m.bars) {
      const node = itemOf(b.node)
      const first = alike.get(b.run)?.get(node) ?? node // a fan-out is one row, as in the graph
      const key = `${b.run}/${first}`
      let r = rows.get(key)
      if (!r) rows.set(key, (r = { run: b.run, node: first, many: new Set(), bars: [] }))
      r.many.add(node)
      r.bars.push(b)
    }
    return [...rows.values()]
  }, [n, graphs])
  const e = film.current?.event
  const head = open && m.live.value ? 1 : e ? scale.x(Date.parse(e.time)) : 0
  const label = wide < 560 ? 96 : 150
  const track = Math.max(40, wide - label - 10)
  const to = (x: number) => label + x * track

  const pick = (ev: PointerEvent) => {
    const r = box.current!.getBoundingClientRect()
    const x = (ev.clientX - r.left - label) / track
    if (x < -0.02) return
    // The last event that is not after that place.
    let lo = 0, hi = film.frames.length
    while (lo < hi) {
      const mid = (lo + hi) >> 1
      if (scale.x(Date.parse(film.frames[mid].event.time)) <= x + 0.001) lo = mid + 1
      else hi = mid
    }
    m.seek(Math.max(1, lo), x >= 0.999)
  }
  const dragging = useRef(false)
  return <div class="timeline" ref={box}
    onPointerDown={ev => { if ((ev.target as Element).closest('button')) return; dragging.current = true; box.current!.setPointerCapture(ev.pointerId); m.play(false); pick(ev) }}
    onPointerMove={ev => { if (dragging.current) pick(ev) }}
    onPointerUp={() => { dragging.current = false }}>
    <div class="tl-axis">
      <span class="muted" style={{ left: `${label}px` }}>{duration(scale.to - scale.from)}{scale.gaps.length > 0 ? ', idle time pressed' : ''}</span>
      {scale.gaps.filter(g => g.width * track > 30).map(g => <span class="muted tl-idle" style={{ left: `${to(g.at + g.width / 2)}px` }}>{duration(g.ms)}</span>)}
    </div>
    <div class="tl-rows">
      {scale.gaps.map(g => <div class="tl-gap" style={{ left: `${to(g.at)}px`, width: `${Math.max(2, g.width * track)}px` }} title={`${duration(g.ms)} in which nothing was at work`} />)}
      {rows.map(r => {
        const key = `${r.run}/${r.node}`
        const chosen = m.chosen.value.startsWith(r.run + '/') && r.many.has(m.chosen.value.slice(r.run.length + 1))
        const name = r.many.size > 1 ? `${r.node} +${r.many.size - 1}` : r.node
        return <div class={`tl-row${chosen ? ' chosen' : ''}`} key={key}>
          <button class="tl-name" style={{ width: `${label - 8}px` }} title={plainText([...r.many].slice(0, 20).join(', '))} onClick={() => { m.chosen.value = chosen ? '' : key }}>{r.run !== m.id && <span class="muted">↳ </span>}{name}</button>
          <Bars bars={r.bars} many={r.bars.length} scale={scale} end={open ? end : 0} left={label} track={track} />
        </div>
      })}
      <div class="tl-future" style={{ left: `${to(head)}px`, right: '0' }} />
      <div class="tl-head" style={{ left: `${to(head)}px` }} />
    </div>
  </div>
}
