// Search runs in a Worker, which browsers refuse to pages that are opened from the disk. There, this
// replaces Worker by a hidden frame that runs the same script. The name of this file tells
// mkdocs-material's offline plugin that it need not load a replacement from the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const start = () => {
        this.frame = document.createElement("iframe")
        this.frame.hidden = true
        document.body.appendChild(this.frame)
        const inside = this.frame.contentWindow
        const add = (address) =>
          new Promise((resolve, reject) => {
            const script = inside.document.createElement("script")
            script.src = new URL(address, location.href).href
            script.onload = resolve
            script.onerror = reject
            inside.document.head.appendChild(script)
          })
        inside.postMessage = (data) => {
          const event = new MessageEvent("message", { data })
          setTimeout(() => {
            this.dispatchEvent(event)
            if (this.onmessage) this.onmessage(event)
          })
        }
        inside.importScripts = (...addresses) =>
          addresses.reduce((done, one) => done.then(() => add(one)), Promise.resolve())
        add(url).then(() => {
          this.receive = (data) =>
            setTimeout(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })))
          this.waiting.forEach(this.receive)
        })
      }
      if (document.body) start()
      else addEventListener("DOMContentLoaded", start)
    }

    postMessage(data) {
      if (this.receive) this.receive(data)
      else this.waiting.push(data)
    }

    terminate() {
      if (this.frame) this.frame.remove()
    }
  }
}
