// The graph of a definition, and on it how far a run has come.
import { Component } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Icon, iconPath } from './icons'
import { clip, curve, layoutOf, type Box, type Line } from './layout'
import type { Graph, NodeStatus } from './types'

export interface NodeLook {
  status: NodeStatus | ''
  visits: number // completed
  under?: string // a second line instead of the kind
  fresh?: boolean // the event that is looked at is about it
  tokens?: number // that wait there
}

export interface GraphProps {
  graph: Graph
  layoutKey: string
  look?: (id: string) => NodeLook
  takenOf?: (from: string, to: string) => number
  freshEdge?: { from: string; to: string }
  focus?: string // the node that is to be seen, where not all can be
  chosen?: string
  choose?: (id: string) => void
  label: string
}

// A graph that would have to be smaller than readable is shown in a size that can be read,
// and as much of it as there is room for.
const readable = 0.5, readSize = 0.72

// findFrom nodes are more than one finds by looking.
const findFrom = 30

interface View { x: number; y: number; k: number }

const nothing: NodeLook = { status: '', visits: 0 }

// worst is the status of several nodes as one.
const order: (NodeStatus | '')[] = ['failed', 'running', 'waiting', 'scheduled', 'completed', 'skipped', '']
function together(looks: NodeLook[]): NodeLook {
  const done = looks.filter(l => l.status === 'completed').length
  const status = order.find(s => looks.some(l => l.status === s)) ?? ''
  return {
    status: status === 'completed' && done < looks.length ? 'running' : status,
    visits: 0, fresh: looks.some(l => l.fresh), under: `${done} of ${looks.length} done`,
  }
}

export function GraphView(p: GraphProps) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const frame = useRef<HTMLDivElement>(null)
  const [size, setSize] = useState({ w: 0, h: 0 })
  const [view, setView] = useState<View | null>(null) // null: it is for the graph to say
  const [sought, setSought] = useState('')
  const last = useRef<View & { of: unknown } | null>(null)
  const wide = Math.round(size.w / 40), high = Math.round(size.h / 40) // not every pixel is another layout
  const l = useMemo(() => size.w && size.h ? fittest(p.layoutKey, p.graph, open, size) : null, [p.layoutKey, open, wide, high])

  useEffect(() => {
    const look = new ResizeObserver(([e]) => setSize({ w: e.contentRect.width, h: e.contentRect.height }))
    look.observe(frame.current!)
    return () => look.disconnect()
  }, [])
  useEffect(() => { setView(null) }, [p.layoutKey, wide, high, open])
  useEffect(() => { setSought('') }, [p.focus])

  const whole = (): View => {
    if (!l) return { x: 0, y: 0, k: 1 }
    const k = Math.max(0.08, Math.min(size.w / l.w, size.h / l.h, 1.25))
    return { x: (size.w - l.w * k) / 2, y: (size.h - l.h * k) / 2, k }
  }
  // fit shows all of it, or else stays with the node that is looked at.
  const fit = (): View => {
    const all = whole()
    if (!l || all.k >= readable) return all
    const b = boxOf(l.boxes, sought || p.focus || p.chosen || '')
    const was = last.current?.of === l ? last.current : null
    const inside = (v: View) => !b || (b.x - b.w / 2) * v.k + v.x >= 0 && (b.x + b.w / 2) * v.k + v.x <= size.w && (b.y - b.h / 2) * v.k + v.y >= 0 && (b.y + b.h / 2) * v.k + v.y <= size.h
    if (was && inside(was)) return was
    const k = readSize
    const place = (at: number, room: number, full: number) => full * k <= room ? (room - full * k) / 2 : Math.min(0, Math.max(room - full * k, room / 2 - at * k))
    const v = { x: place(b?.x ?? 0, size.w, l.w), y: place(b?.y ?? 0, size.h, l.h), k }
    last.current = { ...v, of: l }
    return v
  }
  const v = view ?? fit()
  const large = l !== null && whole().k < readable

  const zoom = (by: number, cx = size.w / 2, cy = size.h / 2) => {
    const k = Math.min(2.5, Math.max(0.08, v.k * by))
    setView({ k, x: cx - (cx - v.x) * (k / v.k), y: cy - (cy - v.y) * (k / v.k) })
  }
  const drag = useRef<{ x: number; y: number } | null>(null)

  useEffect(() => {
    const el = frame.current!
    const wheel = (e: WheelEvent) => {
      e.preventDefault()
      const r = el.getBoundingClientRect()
      if (e.ctrlKey || e.metaKey || !e.shiftKey && e.deltaX === 0) zoom(Math.exp(-e.deltaY / 400), e.clientX - r.left, e.clientY - r.top)
      else setView({ ...v, x: v.x - e.deltaX - (e.shiftKey ? e.deltaY : 0), y: v.y - (e.shiftKey ? 0 : e.deltaY) })
    }
    el.addEventListener('wheel', wheel, { passive: false })
    return () => el.removeEventListener('wheel', wheel)
  })

  const lookOf = (b: Box): NodeLook => {
    if (!p.look) return b.members.length > 1 ? { status: '', visits: 0, under: `${b.members.length} alike` } : nothing
    return b.members.length > 1 ? together(b.members.map(p.look)) : p.look(b.id)
  }
  const pick = (b: Box) => {
    if (b.members.length > 1) setOpen(new Set([...open, b.id]))
    else p.choose?.(b.id)
  }
  const seek = (id: string) => {
    if (!l || !p.graph.nodes.some(n => n.id === id)) return
    const b = boxOf(l.boxes, id)
    if (b && b.members.length > 1) setOpen(new Set([...open, b.id]))
    setSought(id)
    setView(null)
    if (p.chosen !== id) p.choose?.(id)
  }

  return <div class="graph" ref={frame} role="group" aria-label={p.label}>
    {l && <svg width="100%" height="100%"
      onPointerDown={e => { if (!(e.target as Element).closest('.node')) { drag.current = { x: e.clientX - v.x, y: e.clientY - v.y }; (e.currentTarget as Element).setPointerCapture(e.pointerId) } }}
      onPointerMove={e => { if (drag.current) setView({ ...v, x: e.clientX - drag.current.x, y: e.clientY - drag.current.y }) }}
      onPointerUp={() => { drag.current = null }}>
      <defs>
        <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 .8 7.4 4 0 7.2z" class="tip" /></marker>
        <marker id="tip-taken" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto-start-reverse"><path d="M0 .8 7.4 4 0 7.2z" class="tip taken" /></marker>
      </defs>
      <g transform={`translate(${v.x} ${v.y}) scale(${v.k})`}>
        {l.lines.map(e => {
          const n = p.takenOf ? sum(l.boxes, e, p.takenOf) : 0
          const fresh = p.freshEdge ? within(l.boxes, e.from, p.freshEdge.from) && within(l.boxes, e.to, p.freshEdge.to) : false
          return <EdgeView key={`${e.from} ${e.to} ${e.label} ${e.on}`} line={e} taken={n} fresh={fresh} small={v.k < 0.55} />
        })}
        {l.boxes.map(b => {
          const k = lookOf(b)
          return <NodeView key={b.id} box={b} status={k.status} visits={k.visits} under={k.under ?? b.kind} fresh={k.fresh ?? false} tokens={k.tokens ?? 0} chosen={p.chosen === b.id || sought === b.id} pick={pick} />
        })}
      </g>
    </svg>}
    <div class="graph-tools">
      {p.graph.nodes.length >= findFrom && <><input type="search" class="find-node" list="graph-nodes" aria-label="Find a node" placeholder="find a node" onInput={e => seek((e.target as HTMLInputElement).value.trim())} />
        <datalist id="graph-nodes">{p.graph.nodes.map(n => <option value={n.id} />)}</datalist></>}
      {open.size > 0 && <button class="icon" aria-label="Fold groups" title="Fold groups" onClick={() => setOpen(new Set())}><Icon of="fold" /></button>}
      <button class="icon" aria-label="Zoom out" title="Zoom out" onClick={() => zoom(1 / 1.3)}><Icon of="minus" /></button>
      <button class="icon" aria-label={large && !view ? 'Show all of the graph' : 'Fit the graph'} title={large && !view ? 'All of it' : 'Fit'} onClick={() => setView(large && !view ? whole() : null)}><Icon of="fit" /></button>
      <button class="icon" aria-label="Zoom in" title="Zoom in" onClick={() => zoom(1.3)}><Icon of="plus" /></button>
    </div>
  </div>
}

// fittest is the layout, along or down, that can be shown larger.
function fittest(key: string, g: Graph, open: ReadonlySet<string>, size: { w: number; h: number }) {
  const along = layoutOf(key, g, open, 'LR')
  if (along.boxes.length > 80) return along
  const down = layoutOf(key, g, open, 'TB')
  const scale = (l: { w: number; h: number }) => Math.min(size.w / l.w, size.h / l.h, 1.25)
  return scale(down) > scale(along) * 1.05 ? down : along
}

const boxOf = (boxes: Box[], id: string) => boxes.find(b => b.members.includes(id))
const membersOf = (boxes: Box[], id: string) => boxes.find(b => b.id === id)?.members ?? [id]
const within = (boxes: Box[], box: string, id: string) => box === id || membersOf(boxes, box).includes(id)
function sum(boxes: Box[], e: Line, of: (from: string, to: string) => number): number {
  const from = membersOf(boxes, e.from), to = membersOf(boxes, e.to)
  if (from.length === 1 && to.length === 1) return of(e.from, e.to)
  let n = 0
  for (const a of from) for (const b of to) n += of(a, b)
  return n
}

// A node or an edge is drawn again only if it looks different: of 300, a step changes two.
abstract class Still<P> extends Component<P> {
  shouldComponentUpdate(next: P) {
    for (const k in next) if (next[k] !== this.props[k] && typeof next[k] !== 'function') return true
    return false
  }
}

interface NodeProps { box: Box; status: NodeStatus | ''; visits: number; under: string; fresh: boolean; tokens: number; chosen: boolean; pick: (b: Box) => void }

class NodeView extends Still<NodeProps> {
  render() {
    const { box: b, status, visits, under, fresh, tokens, chosen } = this.props
    const many = b.members.length > 1
    const name = many ? `${b.members[0]} … ${b.members.at(-1)}` : b.id
    const pick = () => this.props.pick(b)
    const badge = 16 + 6 * String(visits).length
    return <g class={`node s-${status || 'none'}${fresh ? ' fresh' : ''}${chosen ? ' chosen' : ''}`} transform={`translate(${b.x - b.w / 2} ${b.y - b.h / 2})`}
      role="button" tabindex={0} data-node={b.id} aria-label={`${name}, ${b.kind}, ${status || 'not reached'}${visits > 1 ? `, ${visits} visits` : ''}${many ? ', show each' : ''}`}
      onClick={pick} onKeyDown={e => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); e.stopPropagation(); pick() } }}>
      {many && <rect class="behind" x="5" y="5" width={b.w} height={b.h} rx="8" />}
      <rect class="body" width={b.w} height={b.h} rx="8" />
      <rect class="bar" x="0" y="9" width="3" height={b.h - 18} rx="1.5" />
      <path class="glyph" transform={`translate(12 ${b.h / 2 - 8})`} d={iconPath(b.kind)} />
      <text class="name" x="38" y="20">{clip(name, visits > 1 ? 15 : 19)}</text>
      <text class="under" x="38" y="35">{clip(status && under === b.kind ? `${b.kind} · ${status}` : under, 24)}</text>
      {visits > 1 && <g transform={`translate(${b.w - 8 - badge} 8)`}><rect class="badge" width={badge} height="14" rx="7" /><text class="badge-text" x={badge / 2} y="10.5" text-anchor="middle">×{visits}</text></g>}
      {tokens > 0 && <circle class="token" cx="0" cy={b.h / 2} r="4.5" />}
    </g>
  }
}

class EdgeView extends Still<{ line: Line; taken: number; fresh: boolean; small: boolean }> {
  render() {
    const { line: e, taken, fresh, small } = this.props
    const text = clip(e.label, 26)
    return <g class={`edge${taken ? ' taken' : ''}${fresh ? ' fresh' : ''}${e.back ? ' back' : ''}${e.on ? ' aside' : ''}`}>
      <path d={curve(e.points)} marker-end={taken ? 'url(#tip-taken)' : 'url(#tip)'} />
      {text && !small && <g transform={`translate(${e.lx} ${e.ly})`}>
        <title>{taken > 1 ? `${e.label}, taken ${taken} times` : e.label}</title>
        <rect class="label-back" x={-text.length * 2.75 - 4} y="-8" width={text.length * 5.5 + 8} height="15" rx="4" />
        <text class="label" text-anchor="middle" y="3.5">{text}</text>
      </g>}
    </g>
  }
}
