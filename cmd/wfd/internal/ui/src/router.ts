// Where the page is: its address says all of it, so that a link shows what was seen.
import { computed, signal } from '@preact/signals'

const here = signal(new URL(location.href))
addEventListener('popstate', () => { here.value = new URL(location.href) })

export const path = computed(() => here.value.pathname)
export const params = computed(() => here.value.searchParams)

// decoded is a part of an address as it was before it was escaped; what is not escaped
// UTF-8 names nothing, and stays as it is.
export function decoded(s: string): string {
  try { return decodeURIComponent(s) } catch { return s }
}

export function go(to: string) {
  if (to === here.value.pathname + here.value.search) return
  history.pushState(null, '', to)
  here.value = new URL(location.href)
  scrollTo(0, 0)
}

// set changes parameters of the address in place; '' takes one out.
export function set(changes: Record<string, string>) {
  const u = new URL(here.value)
  for (const [k, v] of Object.entries(changes)) {
    if (v) u.searchParams.set(k, v)
    else u.searchParams.delete(k)
  }
  if (u.href === here.value.href) return
  history.replaceState(null, '', u)
  here.value = u
}

// setAll sets a parameter that may be there several times.
export function setAll(key: string, values: string[]) {
  const u = new URL(here.value)
  u.searchParams.delete(key)
  for (const v of values) u.searchParams.append(key, v)
  history.replaceState(null, '', u)
  here.value = u
}

addEventListener('click', e => {
  const a = (e.target as Element).closest?.('a')
  if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || a.target) return
  const to = new URL(a.getAttribute('href') ?? '', location.href)
  if (to.origin !== location.origin || to.pathname.startsWith('/v1/') || to.pathname.startsWith('/ui/')) return
  e.preventDefault()
  go(to.pathname + to.search)
})
