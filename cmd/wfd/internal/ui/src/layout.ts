// Where the nodes of a graph stand. A layout is made once for a definition and kept,
// over visits of the page too.
import { Graph as Dagre, layout } from '@dagrejs/dagre'
import { plainText } from './text'
import type { Graph } from './types'

export interface Box { id: string; kind: string; x: number; y: number; w: number; h: number; members: string[] } // members: more than one is a group
export interface Line { from: string; to: string; label: string; on: string; back: boolean; points: { x: number; y: number }[]; lx: number; ly: number }
export interface Layout { boxes: Box[]; lines: Line[]; w: number; h: number }

export const boxW = 172
export const boxH = 46

// groupFrom is the number of nodes alike that are shown as one.
const groupFrom = 5

// groups finds fan-outs: nodes of one kind whose edges come from, and lead to, the same
// nodes. Shown as one they leave the graph readable; what is open is shown whole.
export function groups(g: Graph, open: ReadonlySet<string>): Map<string, string> {
  const before = new Map<string, string[]>()
  for (const n of g.nodes) for (const e of n.to ?? []) before.set(e.to, [...(before.get(e.to) ?? []), `${n.id} ${e.if ?? ''}`])
  const alike = new Map<string, string[]>()
  for (const n of g.nodes) {
    const key = JSON.stringify([n.kind, n.entry ?? false, (before.get(n.id) ?? []).sort(), (n.to ?? []).map(e => [e.to, e.if, e.on, e.back])])
    alike.set(key, [...(alike.get(key) ?? []), n.id])
  }
  const group = new Map<string, string>()
  for (const ids of alike.values()) {
    if (ids.length >= groupFrom && !open.has(ids[0])) for (const id of ids) group.set(id, ids[0])
  }
  return group
}

const kept = new Map<string, Layout>()

export function layoutOf(key: string, g: Graph, open: ReadonlySet<string>, dir: 'LR' | 'TB'): Layout {
  key = `wfd layout 2 ${key} ${dir} ${[...open].sort().join(' ')}`
  let l = kept.get(key)
  if (l) return l
  try {
    const s = sessionStorage.getItem(key)
    if (s) l = JSON.parse(s) as Layout
  } catch { /* no storage: it is made again */ }
  if (!l) {
    l = make(g, open, dir)
    try { sessionStorage.setItem(key, JSON.stringify(l)) } catch { /* full */ }
  }
  kept.set(key, l)
  return l
}

export function labelOf(e: { if?: string; on?: string; default?: boolean }): string {
  if (e.on) return 'on ' + e.on
  if (e.if) return plainText(e.if)
  return e.default ? 'else' : ''
}

export function clip(s: string, n: number): string { return s.length > n ? s.slice(0, n - 1) + '…' : s }

function make(g: Graph, open: ReadonlySet<string>, dir: 'LR' | 'TB'): Layout {
  const group = groups(g, open)
  const at = (id: string) => group.get(id) ?? id
  const d = new Dagre({ multigraph: true }).setGraph({ rankdir: dir, nodesep: dir === 'LR' ? 22 : 26, ranksep: dir === 'LR' ? 46 : 38, edgesep: 12, marginx: 16, marginy: g.nodes.some(n => n.to?.some(e => at(e.to) === at(n.id))) ? 52 : 16 }).setDefaultEdgeLabel(() => ({}))
  const members = new Map<string, string[]>()
  for (const n of g.nodes) members.set(at(n.id), [...(members.get(at(n.id)) ?? []), n.id])
  const kind = new Map(g.nodes.map(n => [n.id, n.kind]))
  for (const id of members.keys()) d.setNode(id, { width: boxW, height: boxH })
  const drawn = new Map<string, { from: string; to: string; label: string; on: string; back: boolean }>()
  for (const n of g.nodes) {
    for (const e of n.to ?? []) {
      const line = { from: at(n.id), to: at(e.to), label: labelOf(e), on: e.on ?? '', back: e.back ?? false }
      const name = JSON.stringify([line.from, line.to, line.label, line.on])
      if (drawn.has(name)) continue
      drawn.set(name, line)
      if (line.from === line.to) continue // drawn over the node
      const text = clip(line.label, 26)
      // A loop is drawn against the flow, and must not turn the ranks round.
      if (line.back) d.setEdge(line.to, line.from, { width: text.length * 5.6, height: text ? 14 : 0, labelpos: 'c', weight: 0, minlen: 1 }, name)
      else d.setEdge(line.from, line.to, { width: text.length * 5.6, height: text ? 14 : 0, labelpos: 'c', weight: line.on ? 1 : 2 }, name)
    }
  }
  layout(d)
  const boxes: Box[] = [...members].map(([id, m]) => {
    const n = d.node(id)
    return { id, kind: kind.get(id) ?? '', x: n.x!, y: n.y!, w: boxW, h: boxH, members: m }
  })
  const lines: Line[] = [...drawn].map(([name, line]) => {
    if (line.from === line.to) {
      const n: any = d.node(line.from)
      const y = n.y - boxH / 2
      const points = [{ x: n.x + 34, y }, { x: n.x + 44, y: y - 34 }, { x: n.x - 44, y: y - 34 }, { x: n.x - 34, y: y - 1 }].map(p => ({ x: Math.round(p.x), y: Math.round(p.y) }))
      return { ...line, points, lx: n.x, ly: y - 37 }
    }
    const e: any = line.back ? d.edge(line.to, line.from, name) : d.edge(line.from, line.to, name)
    const points = (e.points ?? []).map((p: any) => ({ x: Math.round(p.x), y: Math.round(p.y) }))
    if (line.back) points.reverse()
    return { ...line, points, lx: e.x ?? 0, ly: e.y ?? 0 }
  })
  const size: any = d.graph()
  return { boxes, lines, w: Math.max(size.width || 0, boxW + 32), h: Math.max(size.height || 0, boxH + 32) }
}

// curve draws a line through points, round at each.
export function curve(points: { x: number; y: number }[]): string {
  if (points.length === 0) return ''
  if (points.length < 3) return points.map((p, i) => `${i ? 'L' : 'M'}${p.x} ${p.y}`).join('')
  let s = `M${points[0].x} ${points[0].y}`
  for (let i = 1; i < points.length - 1; i++) {
    const p = points[i], n = points[i + 1]
    const end = i === points.length - 2 ? n : { x: (p.x + n.x) / 2, y: (p.y + n.y) / 2 }
    s += `Q${p.x} ${p.y} ${end.x} ${end.y}`
  }
  return s
}
