// Signs and verifies tokens with the Node libraries that customers use: a list of jobs comes in on stdin as JSON, the
// list of results goes out on stdout. A job that a library refuses has the result {"refused": "..."}.
import { readFileSync } from 'node:fs'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'

const symmetric = (job) => job.algorithm.startsWith('HS')
const bytes = (text) => new TextEncoder().encode(text)

const libraries = {
  jsonwebtoken: {
    sign: ({ claims, key, algorithm, kid, options }) =>
      jsonwebtoken.sign(claims, key, options ?? { algorithm, keyid: kid }),
    verify: ({ token, key, algorithm }) => jsonwebtoken.verify(token, key, { algorithms: [algorithm] }),
  },
  jose: {
    sign: async (job) => {
      const key = symmetric(job) ? bytes(job.key) : await jose.importPKCS8(job.key, job.algorithm)
      return new jose.SignJWT(job.claims).setProtectedHeader({ alg: job.algorithm, kid: job.kid }).sign(key)
    },
    verify: async (job) => {
      const key = symmetric(job) ? bytes(job.key) : await jose.importJWK(job.jwk, job.algorithm)
      return (await jose.jwtVerify(job.token, key, { algorithms: [job.algorithm] })).payload
    },
  },
}

const results = []
for (const job of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    results.push({ done: await libraries[job.library][job.action](job) })
  } catch (error) {
    results.push({ refused: `${error.name}: ${error.message}` })
  }
}
process.stdout.write(JSON.stringify(results))
