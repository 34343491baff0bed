// A form of a JSON Schema: what people can fill in field by field, and JSON for the rest.
// The daemon checks what is sent; the form only helps to get it right.
import { useState } from 'preact/hooks'
import { plainText } from './text'
import type { Schema } from './types'

const typeOf = (s: Schema): string => {
  const t = Array.isArray(s.type) ? s.type.find(t => t !== 'null') : s.type
  return t ?? (s.properties ? 'object' : s.enum ? 'enum' : '')
}

// emptyOf is what a form begins with.
export function emptyOf(s: Schema | undefined): unknown {
  if (!s) return undefined
  if (s.default !== undefined) return s.default
  if (typeOf(s) !== 'object') return undefined
  const o: Record<string, unknown> = {}
  for (const [k, p] of Object.entries(s.properties ?? {})) {
    const v = emptyOf(p)
    if (v !== undefined) o[k] = v
  }
  return o
}

// lacking names the fields that have to be filled in and are not.
export function lacking(s: Schema | undefined, v: any, at = ''): string[] {
  if (!s || typeOf(s) !== 'object' || !s.properties) return v === undefined && s && at ? [at] : []
  const missing: string[] = []
  for (const k of s.required ?? []) {
    if (v?.[k] === undefined || v[k] === '') missing.push(at + k)
    else if (s.properties[k]) missing.push(...lacking(s.properties[k], v[k], at + k + '.'))
  }
  return missing
}

interface FieldProps { schema: Schema; value: any; change: (v: unknown) => void; id: string; name?: string; required?: boolean }

export function SchemaForm({ schema, value, change, id }: { schema: Schema | undefined; value: unknown; change: (v: unknown) => void; id: string }) {
  const [raw, setRaw] = useState(false)
  if (!schema || raw) return <div class="form">
    <JSONField id={id} name={schema ? 'JSON' : 'Value, as JSON'} value={value} change={change} />
    {schema && <button type="button" class="link" onClick={() => setRaw(false)}>as a form</button>}
  </div>
  return <div class="form">
    <Field schema={schema} value={value} change={change} id={id} />
    <button type="button" class="link" onClick={() => setRaw(true)}>as JSON</button>
  </div>
}

function Field(p: FieldProps) {
  const { schema: s, id, value, change } = p
  const t = typeOf(s)
  if (t === 'object' && s.properties) {
    // A schema's properties come in the order of their names: what has to be there first.
    const must = (k: string) => s.required?.includes(k) ? 0 : 1
    const inner = Object.entries(s.properties).sort(([a], [b]) => must(a) - must(b)).map(([k, sub]) => <Field key={k} schema={sub} id={`${id}.${k}`} name={sub.title ?? k} required={s.required?.includes(k)} value={value?.[k]}
      change={v => {
        const next = { ...(value ?? {}) }
        if (v === undefined) delete next[k]
        else next[k] = v
        change(next)
      }} />)
    return p.name ? <fieldset><legend>{plainText(p.name)}</legend>{inner}</fieldset> : <>{inner}</>
  }
  const label = <>{plainText(p.name ?? s.title ?? 'Value')}{p.required && <span class="bad" title="has to be filled in"> *</span>}</>
  const help = s.description && <small class="muted" id={id + '-help'}>{plainText(s.description)}</small>
  const common = { id, 'aria-required': p.required, 'aria-describedby': s.description ? id + '-help' : undefined }
  if (s.enum) {
    return <div class="field"><label for={id}>{label}</label>
      <select {...common} value={s.enum.indexOf(value) < 0 ? '' : String(s.enum.indexOf(value))} onChange={e => { const i = (e.target as HTMLSelectElement).value; change(i === '' ? undefined : s.enum![Number(i)]) }}>
        <option value="">–</option>{s.enum.map((v, i) => <option value={String(i)}>{plainText(typeof v === 'string' ? v : JSON.stringify(v))}</option>)}
      </select>{help}</div>
  }
  if (t === 'boolean') {
    return <div class="field" role="radiogroup" aria-labelledby={id + '-l'}><span id={id + '-l'}>{label}</span>
      <div class="yesno">{[[true, 'Yes'], [false, 'No']].map(([v, text]) => <label class={value === v ? 'on' : ''}><input type="radio" name={id} checked={value === v} onChange={() => change(v)} />{text}</label>)}</div>{help}</div>
  }
  if (t === 'number' || t === 'integer') {
    return <div class="field"><label for={id}>{label}</label><input {...common} type="number" step={t === 'integer' ? 1 : 'any'} min={s.minimum} max={s.maximum} value={value ?? ''}
      onInput={e => { const v = (e.target as HTMLInputElement).value; change(v === '' ? undefined : Number(v)) }} />{help}</div>
  }
  if (t === 'string') {
    const long = (s.maxLength ?? 0) > 200 || s.format === 'multiline' || typeof value === 'string' && value.includes('\n')
    return <div class="field"><label for={id}>{label}</label>{long
      ? <textarea {...common} rows={4} value={value ?? ''} onInput={e => change((e.target as HTMLTextAreaElement).value)} />
      : <input {...common} type="text" maxLength={s.maxLength} value={value ?? ''} placeholder={s.examples?.[0] !== undefined ? String(s.examples[0]) : undefined} onInput={e => change((e.target as HTMLInputElement).value)} />}{help}</div>
  }
  if (t === 'array' && s.items && typeOf(s.items) === 'string') {
    return <div class="field"><label for={id}>{label} <span class="muted">one a line</span></label>
      <textarea {...common} rows={3} value={(value ?? []).join('\n')} onInput={e => { const v = (e.target as HTMLTextAreaElement).value; change(v === '' ? [] : v.split('\n')) }} onBlur={() => Array.isArray(value) && change(value.filter((x: string) => x !== ''))} />{help}</div>
  }
  return <JSONField id={id} name={p.name ?? s.title ?? 'Value'} required={p.required} value={value} change={change} help={s.description} />
}

// JSONField takes any value as JSON, and says so while it is none.
export function JSONField({ id, name, value, change, required, help, rows = 4 }: { id: string; name: string; value: unknown; change: (v: unknown) => void; required?: boolean; help?: string; rows?: number }) {
  const [text, setText] = useState(() => value === undefined ? '' : JSON.stringify(value, null, 2))
  const [wrong, setWrong] = useState('')
  return <div class="field"><label for={id}>{plainText(name)}{required && <span class="bad"> *</span>}</label>
    <textarea id={id} rows={Math.min(14, Math.max(rows, text.split('\n').length))} spellcheck={false} value={text} aria-invalid={wrong !== ''} aria-describedby={wrong ? id + '-wrong' : undefined} onInput={e => {
      const t = (e.target as HTMLTextAreaElement).value
      setText(t)
      if (t.trim() === '') { setWrong(''); change(undefined); return }
      try { change(JSON.parse(t)); setWrong('') } catch (err) { setWrong((err as Error).message) }
    }} />
    {wrong && <small class="bad" id={id + '-wrong'}>{wrong}</small>}
    {help && <small class="muted">{plainText(help)}</small>}
  </div>
}
