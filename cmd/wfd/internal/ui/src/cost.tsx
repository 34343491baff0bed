// What runs consumed, and what models cost.
import { get, query } from './api'
import { RunLink, Trouble, useLoad } from './parts'
import { pulse } from './pulse'
import { count, plainText, usd } from './text'
import type { List, Row, Run } from './types'

const looked = 40

interface Price { provider?: string; model: string; price: { input: number; cached: number; output: number }; source?: string }

export function Cost() {
  const spent = useLoad('spent', async s => {
    const rows = (await get<List<Row>>(`/v1/runs${query({ limit: looked })}`, s)).items
    return Promise.all(rows.map(r => get<Run>(`/v1/runs/${r.id}`, s)))
  }, Math.floor(pulse.value / 8))
  const prices = useLoad('prices', s => get<List<Price>>('/v1/prices?limit=500', s))
  const runs = (spent.data ?? []).filter(r => r.usage.input_tokens + r.usage.output_tokens > 0)
  const by = new Map<string, { runs: number; input: number; output: number }>()
  for (const r of runs) {
    const s = by.get(r.workflow) ?? { runs: 0, input: 0, output: 0 }
    by.set(r.workflow, { runs: s.runs + 1, input: s.input + r.usage.input_tokens, output: s.output + r.usage.output_tokens })
  }
  const most = Math.max(1, ...[...by.values()].map(s => s.input + s.output))
  return <main class="page">
    <div class="bar"><h1>Cost</h1><span class="muted">of the newest {looked} runs</span></div>
    <Trouble error={spent.error} />
    {spent.data && runs.length === 0 && <p class="muted">None of them has used a model that says what it consumed.</p>}
    {by.size > 0 && <div class="table-wrap"><table class="table"><thead><tr><th>Workflow</th><th class="num">Runs</th><th class="num">Tokens in</th><th class="num">Tokens out</th><th class="grow" /></tr></thead>
      <tbody>{[...by].sort((a, b) => b[1].input + b[1].output - a[1].input - a[1].output).map(([w, s]) => <tr><td>{plainText(w)}</td><td class="num">{s.runs}</td><td class="num">{count(s.input)}</td><td class="num">{count(s.output)}</td><td class="grow"><meter min={0} max={most} value={s.input + s.output} aria-label={`share of ${w}`} /></td></tr>)}</tbody></table></div>}
    {runs.length > 0 && <><h2>Runs that consumed most</h2><div class="table-wrap"><table class="table"><tbody>{runs.sort((a, b) => b.usage.input_tokens + b.usage.output_tokens - a.usage.input_tokens - a.usage.output_tokens).slice(0, 10).map(r => <tr><td><RunLink id={r.id} /></td><td>{plainText(r.workflow)}</td><td class="num">{count(r.usage.input_tokens)} in</td><td class="num">{count(r.usage.output_tokens)} out</td></tr>)}</tbody></table></div></>}
    <h2>Prices</h2>
    <Trouble error={prices.error} />
    <div class="table-wrap scroll-y"><table class="table"><thead><tr><th>Model</th><th class="num">Input</th><th class="num">From cache</th><th class="num">Output</th></tr></thead>
      <tbody>{(prices.data?.items ?? []).map(p => <tr><td class="mono">{plainText([p.provider, p.model].filter(Boolean).join(' '))}</td><td class="num">{usd(p.price.input)}</td><td class="num">{usd(p.price.cached)}</td><td class="num">{usd(p.price.output)}</td></tr>)}</tbody></table></div>
    <p class="muted">Dollars a million tokens.</p>
  </main>
}
