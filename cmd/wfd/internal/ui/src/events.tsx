// The events of a run as a list, of which only what is seen is in the document.
import { useEffect, useRef, useState } from 'preact/hooks'
import { lineOf } from './film'
import { Value } from './parts'
import type { RunModel } from './runmodel'
import { clock, plainText } from './text'

const rowH = 24

export function Events({ m }: { m: RunModel }) {
  m.step.value
  const { film } = m
  const box = useRef<HTMLDivElement>(null)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(240)
  const at = film.at

  useEffect(() => {
    const look = new ResizeObserver(([e]) => setHeight(e.contentRect.height))
    look.observe(box.current!)
    return () => look.disconnect()
  }, [])
  useEffect(() => {
    const y = (at - 1) * rowH
    if (y < top + rowH || y > top + height - 3 * rowH) box.current!.scrollTop = Math.max(0, y - height / 2) // nothing is asked of the layout
  }, [at, height])

  const n = film.frames.length
  const from = Math.max(0, Math.floor(top / rowH) - 8)
  const to = Math.min(n, Math.ceil((top + height) / rowH) + 8)
  return <div class="events" ref={box} onScroll={e => setTop((e.target as Element).scrollTop)} role="listbox" aria-label="Events" tabIndex={0} aria-activedescendant={`event-${at}`}>
    <div style={{ height: `${n * rowH}px` }}>
      {film.frames.slice(from, to).map((f, k) => {
        const i = from + k + 1
        const e = f.event
        return <div key={i} id={`event-${i}`} role="option" aria-selected={i === at} class={`event${i === at ? ' at' : ''}${i > at ? ' ahead' : ''}${e.run !== m.id ? ' child' : ''}`} style={{ top: `${(i - 1) * rowH}px` }} onClick={() => { m.play(false); m.seek(i) }}>
          <span class="mono muted ev-v">{e.run === m.id ? `v${e.version}` : `↳${e.version}`}</span>
          <span class="mono muted ev-t">{clock(e.time)}</span>
          <span class="ev-k">{e.kind}</span>
          <span class="ev-l">{plainText(lineOf(e))}</span>
        </div>
      })}
    </div>
  </div>
}

// TheEvent is the event that is looked at, whole.
export function TheEvent({ m }: { m: RunModel }) {
  m.step.value
  const e = m.film.current?.event
  if (!e) return null
  return <div class="the-event">
    <dl class="facts">
      <dt>kind</dt><dd>{e.kind}</dd>
      <dt>seq</dt><dd class="mono"><a href={`/audit?seq=${e.seq}`} title="prove this event">{e.seq}</a></dd>
      <dt>version</dt><dd class="mono">v{e.version}</dd>
      <dt>time</dt><dd class="mono">{e.time}</dd>
      <dt>actor</dt><dd class="mono">{plainText(e.actor)}</dd>
    </dl>
    <Value of={e.data} label="data of the event" />
  </div>
}
