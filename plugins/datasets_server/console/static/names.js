// Completes the names of datasets: each input in an element of the class combobox becomes one.

const WAIT_MILLISECONDS = 150;
let lists = 0;

class Combobox {
  constructor(input) {
    this.input = input;
    this.list = document.createElement("ul");
    this.list.id = `names-${lists++}`;
    this.list.className = "names";
    this.list.role = "listbox";
    this.list.hidden = true;
    this.list.setAttribute("aria-label", "Datasets");
    input.parentElement.append(this.list);
    input.role = "combobox";
    for (const [name, value] of [["autocomplete", "list"], ["controls", this.list.id], ["expanded", "false"]]) {
      input.setAttribute(`aria-${name}`, value);
    }
    input.addEventListener("input", () => this.ask());
    input.addEventListener("keydown", (event) => this.press(event));
    input.addEventListener("blur", () => this.close());
    // Before the input loses the focus, which would close the list.
    this.list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.choose(event.target.closest("li")));
  }

  ask() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.complete(this.input.value.trim()), WAIT_MILLISECONDS);
  }

  async complete(prefix) {
    if (prefix === "") {
      this.close();
      return;
    }
    const answer = await fetch(`dataset/names?${new URLSearchParams({ prefix })}`);
    const isCurrent = prefix === this.input.value.trim() && document.activeElement === this.input;
    if (!answer.ok || !isCurrent) {
      return;
    }
    const names = await answer.json();
    this.list.replaceChildren(...names.map((name, index) => this.option(name, index)));
    this.open(names.length > 0);
  }

  option(name, index) {
    const item = document.createElement("li");
    item.role = "option";
    item.id = `${this.list.id}-${index}`;
    item.textContent = name;
    item.dir = "auto";
    item.setAttribute("aria-selected", "false");
    return item;
  }

  open(isOpen) {
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    this.input.removeAttribute("aria-activedescendant");
  }

  close() {
    clearTimeout(this.timer);
    this.open(false);
  }

  get selected() {
    return this.list.querySelector("[aria-selected=true]");
  }

  press(event) {
    if (this.list.hidden) {
      if (event.key === "ArrowDown") {
        this.ask();
      }
      return;
    }
    const items = [...this.list.children];
    const now = items.indexOf(this.selected);
    const next = { ArrowDown: now + 1, ArrowUp: now < 0 ? items.length - 1 : now - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      this.select(items[(next + items.length) % items.length]);
    } else if (event.key === "Enter" && this.selected) {
      event.preventDefault();
      this.choose(this.selected);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    }
  }

  select(item) {
    this.selected?.setAttribute("aria-selected", "false");
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", item.id);
  }

  choose(item) {
    if (item) {
      this.input.value = item.textContent;
      this.close();
      this.input.form.requestSubmit();
    }
  }
}

for (const input of document.querySelectorAll(".combobox > input")) {
  new Combobox(input);
}
