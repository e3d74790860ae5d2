import re

UNITS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
         "fifteen sixteen seventeen eighteen nineteen").split()
WORDS = {word: n for n, word in enumerate(UNITS)}
WORDS.update({word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)})


def in_words(text):
    total = 0
    for word in re.findall(r"[a-z]+", text.lower()):
        if word == "hundred":
            total = max(1, total) * 100
        elif word in WORDS:
            total += WORDS[word]
        elif word != "and":
            return None
    return total


def worked_out(question):
    q = " ".join(question.split())
    numbers = [int(n) for n in re.findall(r"-?\d+", q)]
    m = re.fullmatch(r"(?:Which number is|Write) ([a-z -]+?)(?: in digits)?[?.]", q)
    if m:
        return in_words(m.group(1))
    m = re.fullmatch(r"Which number has (\d) hundreds?, (\d) tens? and (\d) ones?\?", q)
    if m:
        return int("".join(m.groups()))
    m = re.fullmatch(r"What is the (ones|tens|hundreds) digit of (\d+)\?", q)
    if m:
        return int(m.group(2)) // {"ones": 1, "tens": 10, "hundreds": 100}[m.group(1)] % 10
    m = re.fullmatch(r"Round (\d+) to the nearest (ten|hundred)\.", q)
    if m:
        step = 10 if m.group(2) == "ten" else 100
        return (int(m.group(1)) + step // 2) // step * step
    if re.match(r"What comes next:", q) and len(numbers) >= 3:
        steps = {b - a for a, b in zip(numbers, numbers[1:])}
        return numbers[-1] + steps.pop() if len(steps) == 1 else None
    if re.match(r"(?:Which is the largest:|Find the maximum of)", q) and numbers:
        return max(numbers)
    if re.match(r"(?:Which is the smallest:|Find the minimum of)", q) and numbers:
        return min(numbers)
    if len(numbers) == 2:
        first, second = numbers
        if re.match(r"What is the remainder of \d+ divided by", q) or re.search(r"go into bags of \d+\. How many are left over\?", q):
            return first % second if second else None
        if re.match(r"Find the sum of", q) or re.search(r"has \d+ \w+ and gets \d+ more\. How many now\?", q):
            return first + second
    m = re.search(r"has (\d+) (\w+) and (\d+) (\w+) \w+\. How many are (\w+)\?", q)
    if m and m.group(2) != m.group(4):
        return {m.group(2): int(m.group(1)), m.group(4): int(m.group(3))}.get(m.group(5))
    return None


def transform(rows):
    for row in rows:
        right = worked_out(row["prompt"])
        if right is not None:
            said = row["answer"].strip()
            if not re.fullmatch(r"\d{1,3}", said) or int(said) != right or right > 999:
                continue
        yield row
