// The slider: one place on the run's history, for the graph, the timeline, the state
// and the events. Its strip shows every event; the input below it is a plain range, so
// that keys, screen readers and touch work as they do everywhere.
import { useEffect, useRef, useState } from 'preact/hooks'
import { lineOf } from './film'
import { Icon } from './icons'
import type { RunModel } from './runmodel'
import { clock, duration, plainText } from './text'

// tones say which colour an event has on the strip, and how tall its mark is.
const tones: Record<string, [string, number]> = {
  'run.failed': ['bad', 1], 'node.failed': ['bad', 0.8], 'node.lost': ['bad', 0.7], 'run.completed': ['ok', 1], 'node.completed': ['ok', 0.72],
  'run.created': ['accent', 1], 'run.forked': ['accent', 1], 'run.restored': ['pause', 1], 'run.paused': ['pause', 1], 'run.resumed': ['pause', 0.8],
  'input.requested': ['warn', 0.85], 'input.received': ['warn', 0.85], 'signal.received': ['warn', 0.85], 'run.waiting': ['warn', 0.6],
  'state.set': ['accent', 0.55], 'budget.exceeded': ['bad', 1], 'run.cancelled': ['idle', 1], 'child.started': ['accent', 0.7], 'child.ended': ['ok', 0.7],
}

export function Scrubber({ m }: { m: RunModel }) {
  m.step.value
  const { film } = m
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  const [theme, setTheme] = useState('')
  const n = film.frames.length

  useEffect(() => {
    const look = new ResizeObserver(([e]) => setWidth(e.contentRect.width))
    look.observe(canvas.current!)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    const change = () => setTheme(`${document.documentElement.dataset.theme} ${dark.matches}`)
    dark.addEventListener('change', change)
    const attr = new MutationObserver(change)
    attr.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    return () => { look.disconnect(); attr.disconnect(); dark.removeEventListener('change', change) }
  }, [])

  useEffect(() => {
    const c = canvas.current!
    if (!width || !n) return
    const ratio = devicePixelRatio || 1
    const h = 40
    c.width = Math.round(width * ratio)
    c.height = h * ratio
    const g = c.getContext('2d')!
    g.scale(ratio, ratio)
    const style = getComputedStyle(c)
    const colors = new Map<string, string>()
    const color = (tone: string) => {
      if (!colors.has(tone)) colors.set(tone, style.getPropertyValue(`--strip-${tone}`))
      return colors.get(tone)!
    }
    const gap = width / n
    const bar = Math.max(1, Math.min(gap * 0.62, 5))
    // Where there are more events than pixels, the ones that matter most are drawn last.
    const frames = film.frames.map((f, i) => [i, ...(tones[f.event.kind] ?? ['idle', 0.38])] as [number, string, number])
    if (gap < 2) frames.sort((a, b) => a[2] - b[2])
    for (const [i, tone, tall] of frames) {
      const x = (i + 0.5) * gap - bar / 2
      const th = Math.max(4, tall * (h - 10))
      g.fillStyle = color(tone)
      g.globalAlpha = film.frames[i].event.run === m.id ? 1 : 0.55
      g.beginPath()
      g.roundRect(x, h - 5 - th, bar, th, Math.min(2, bar / 2))
      g.fill()
    }
  }, [width, n, theme])

  const f = film.current
  const e = f?.event
  const began = film.frames[0] ? Date.parse(film.frames[0].event.time) : 0
  const place = n ? `${((film.at - 0.5) / n) * 100}%` : '0%'
  const live = m.live.value
  const line = e ? plainText(lineOf(e)) : ''
  const text = e ? `${e.kind}: ${line}` : ''
  return <section class={`scrubber${live ? ' live' : ' past'}`} aria-label="History">
    <div class="scrub-head">
      <div class="scrub-keys">
        <button class="icon" aria-label="First event" title="First event (Home)" disabled={film.at <= 1} onClick={() => m.seek(1)}><Icon of="first" /></button>
        <button class="icon" aria-label="One event back" title="One event back (←)" disabled={film.at <= 1} onClick={() => m.seek(film.at - 1, false)}><Icon of="back" /></button>
        <button class="icon play" aria-label={m.playing.value ? 'Stop playing' : 'Play the run'} title="Play (space)" onClick={() => m.play()}><Icon of={m.playing.value ? 'stop' : 'play'} /></button>
        <button class="icon" aria-label="One event on" title="One event on (→)" disabled={film.at >= n} onClick={() => m.seek(film.at + 1)}><Icon of="on" /></button>
        <button class="icon" aria-label="Last event" title="Last event (End)" disabled={live} onClick={() => m.seek(n)}><Icon of="last" /></button>
      </div>
      <div class="scrub-at">
        <span class="scrub-pos mono">{film.at}<span class="muted">/{n}</span></span>
        {e && <><span class={`kind k-${tones[e.kind]?.[0] ?? 'idle'}`}>{e.kind}</span><span class="scrub-line">{line}</span></>}
      </div>
      <div class="scrub-when mono">
        {e && <><span title={e.time}>{clock(e.time)}</span><span class="muted">+{duration(Date.parse(e.time) - began)}</span><span class="muted" title="position in the log">seq {e.seq}</span></>}
        <button class={`now${live ? ' on' : ''}`} aria-pressed={live} title="Stand at the end, and go with the run (l)" onClick={() => m.seek(n)}><i class="dot" aria-hidden="true" />{m.ended ? 'end' : 'live'}</button>
      </div>
    </div>
    <div class="strip">
      <div class="strip-past" style={{ width: place }} />
      <canvas ref={canvas} aria-hidden="true" />
      <div class="playhead" style={{ left: place }} />
      <input type="range" min={1} max={Math.max(1, n)} step={1} value={film.at} aria-label="Position in the run's history" aria-valuetext={`event ${film.at} of ${n}, ${text}`}
        onInput={ev => { m.play(false); m.seek(Number((ev.target as HTMLInputElement).value)) }} />
    </div>
  </section>
}
