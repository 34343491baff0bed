// One stream for all screens says that runs, questions or definitions have changed.
import { signal } from '@preact/signals'
import { follow, get } from './api'

// pulse goes up at most four times a second while there is something new.
export const pulse = signal(0)

let due = 0
const beat = () => { due ||= setTimeout(() => { due = 0; pulse.value++ }, 250) as unknown as number }

let begun = false
export function watch() {
  if (begun) return
  begun = true
  const open = () => get<{ head: number }>('/readyz').then(
    h => { follow('/v1/events?kind=run.&kind=input.&kind=definition.', h.head, { event: beat, open: again => { if (again) beat() } }) },
    () => setTimeout(open, 1000))
  void open()
}
