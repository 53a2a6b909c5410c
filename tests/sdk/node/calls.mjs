// Calls the gateway through Intercom's official client: a job comes in on stdin as JSON, the answers go out on stdout.
// A call is [resource, method, ...arguments]; `take` gathers the items of that many pages. A refusal is answered with
// {"refused": status, "kind": class, "code": ..., "message": ..., "link": ...}.
import { readFileSync } from 'node:fs'
import { IntercomClient } from 'intercom-client'

const job = JSON.parse(readFileSync(0, 'utf8'))
const client = new IntercomClient({ token: job.token, baseUrl: job.url })

const gathered = async (page, pages) => {
  const items = []
  for (let number = 0; number < pages; number += 1) {
    items.push(...page.data)
    if (!page.hasNextPage()) break
    page = await page.getNextPage()
  }
  return items
}

const answers = []
for (const { call: [resource, method, ...given], take } of job.calls) {
  try {
    const answer = await client[resource][method](...given)
    answers.push({ done: take ? await gathered(answer, take) : (answer ?? null) })
  } catch (error) {
    const [first] = error.body?.errors ?? []
    const link = error.rawResponse?.headers.get('link') ?? null
    answers.push({ refused: error.statusCode ?? null, kind: error.constructor.name, link, ...first, text: String(error) })
  }
}
process.stdout.write(JSON.stringify(answers))
