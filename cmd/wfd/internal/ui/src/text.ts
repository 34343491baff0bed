// Times, sizes and amounts as people read them.

export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '–'
  if (ms < 1) return '<1 ms'
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  const s = Math.round(ms / 1000)
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ''}`
  const h = Math.floor(s / 3600)
  if (h < 48) return `${h} h${s % 3600 >= 60 ? ` ${Math.floor((s % 3600) / 60)} min` : ''}`
  return `${Math.floor(h / 24)} d${h % 24 ? ` ${h % 24} h` : ''}`
}

export function ago(iso: string, now: number): string {
  const ms = now - Date.parse(iso)
  if (ms < 5_000) return 'now'
  return (ms < 60_000 ? `${Math.floor(ms / 1000)} s` : duration(ms).split(' ').slice(0, 2).join(' ')) + ' ago'
}

const two = (n: number, w = 2) => String(n).padStart(w, '0')
export function clock(iso: string): string {
  const d = new Date(iso)
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${two(d.getMilliseconds(), 3)}`
}
export function moment(iso: string): string {
  const d = new Date(iso)
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
}

export const count = (n: number) => n.toLocaleString('en-US')
export const plural = (n: number, one: string, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`

// usd writes micro-dollars.
export function usd(micros: number): string {
  const d = micros / 1e6
  return '$' + (d === 0 ? '0' : d < 0.01 ? d.toFixed(6).replace(/0+$/, '') : d.toFixed(d < 1 ? 4 : 2))
}

export function size(bytes: number): string {
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (bytes < 1000 || unit === 'GB') return `${bytes < 10 && unit !== 'B' ? bytes.toFixed(1) : Math.round(bytes)} ${unit}`
    bytes /= 1000
  }
  return ''
}

const pretties = new WeakMap<object, string>()

// pretty is a value as indented JSON; of an object it is made once.
export function pretty(v: unknown): string {
  if (v === undefined) return '–'
  if (v === null || typeof v !== 'object') return JSON.stringify(v)
  let s = pretties.get(v)
  if (s === undefined) pretties.set(v, (s = JSON.stringify(v, null, 2)))
  return s
}

// plainText takes out of a text what a terminal or a bidirectional layout would act on,
// and shows that it was there: agents write what they like.
export function plainText(s: string): string {
  return s
    .replace(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?/g, '')
    .replace(/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g, c => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`)
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, c => `⟨${c.charCodeAt(0).toString(16).padStart(2, '0')}⟩`)
}
