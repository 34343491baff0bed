// What wfd dev found wrong in the directory that it watches, on top of every screen,
// until the file is saved without it.
import { useEffect, useState } from 'preact/hooks'
import { get, Problem } from './api'
import { Defects } from './parts'
import { plainText, plural } from './text'
import type { Defect } from './types'

interface Dev { dir: string; revision: number; files: { file: string; problems: Defect[]; error?: string }[] }

export function DevBar() {
  const [dev, setDev] = useState<Dev | null>(null)
  const [open, setOpen] = useState(true)
  useEffect(() => {
    let closed = false
    void (async () => {
      let after = 0
      while (!closed) {
        try {
          const d = await get<Dev>(`/v1/dev?after=${after}&wait=${document.hidden ? 1 : 25}s`)
          if (!d.dir) return // no wfd dev
          if (d.revision !== after) setOpen(true)
          after = d.revision
          setDev(d)
          if (document.hidden) await new Promise(r => setTimeout(r, 5000))
        } catch (e) {
          if (e instanceof Problem && (e.status === 401 || e.status === 403)) return // not for whoever looks
          after = 0 // the next daemon counts anew
          await new Promise(r => setTimeout(r, 1000))
        }
      }
    })()
    return () => { closed = true }
  }, [])
  const bad = dev?.files ?? []
  if (bad.length === 0) return null
  return <section class="dev-bar" role="alert" aria-label="Mistakes in the directory">
    <button class="link" aria-expanded={open} onClick={() => setOpen(!open)}>{plural(bad.length, 'file')} in {plainText(dev!.dir)} cannot be registered</button>
    {open && bad.map(f => <div key={f.file}>{f.problems.length > 0 ? <Defects of={f.problems} /> : <p><span class="mono">{plainText(f.file)}</span>: {plainText(f.error ?? '')}</p>}</div>)}
  </section>
}
